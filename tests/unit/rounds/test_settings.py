"""Where settings come from: the environment, then what the running stack wrote, then defaults."""

import json
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from rounds.settings import NotRunning, Settings, load_settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("ROUNDS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ROUNDS_HOME", str(tmp_path))
    return tmp_path


def running(home: Path, **settings: object) -> None:
    (home / "stack.json").write_text(json.dumps({"settings": settings, "parts": {}}))


def test_environment_wins_over_the_stack_and_the_stack_over_defaults(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running(home, database_url="postgresql://stack", s3_url="http://stack", s3_region="eu")
    monkeypatch.setenv("ROUNDS_DATABASE_URL", "postgresql://given")
    known = load_settings()
    assert known.database_url == "postgresql://given"
    assert (known.s3_url, known.s3_region, known.s3_bucket) == ("http://stack", "eu", "rounds")


def test_without_a_running_stack_there_are_defaults_only(home: Path) -> None:
    known = load_settings()
    assert (known.home, known.database_url) == (home, None)
    assert (known.audit_share, known.stages) == (0.30, (226, 454, 680, 908, 1136))


def test_stack_file_of_a_newer_version_is_read_as_far_as_known(home: Path) -> None:
    running(home, s3_url="http://stack", colour_of_the_moon="blue")
    assert load_settings().s3_url == "http://stack"


def test_home_given_in_code_is_where_the_stack_file_is_sought(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    running(other, s3_url="http://other")
    assert Settings(home=other).s3_url == "http://other"


def test_what_is_missing_is_named_with_what_to_do(home: Path) -> None:
    with pytest.raises(
        NotRunning, match="database_url is unknown: run `rounds up`, or set ROUNDS_DATABASE_URL"
    ):
        load_settings().require("database_url")
    running(home, database_url="postgresql://stack")
    assert load_settings().require("database_url") == "postgresql://stack"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUDIT_SHARE", "0"),
        ("AUDIT_SHARE", "1.1"),
        ("TEST_SHARE", "1"),
        ("SLICE_URL_DAYS", "8"),
        ("STAGES", '"many"'),
    ],
)
def test_value_that_makes_no_sense_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"ROUNDS_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        load_settings()


def test_lists_are_read_as_json(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUNDS_STAGES", "[4, 8]")
    monkeypatch.setenv("ROUNDS_SCHEMES", '["lesion", "lung"]')
    assert (load_settings().stages, load_settings().schemes) == ((4, 8), ("lesion", "lung"))
