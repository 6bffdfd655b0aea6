"""The whole loop on the real stack, small: everybody at his real interface, two stages, pre-labels for the second."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rounds.batches import store as batches
from rounds.db import connect
from rounds.demo import show
from rounds.demo.cast import operate
from rounds.demo.play import Script, Stage
from rounds.labels import service
from rounds.labels import store as labels
from rounds.labels.model import Stage as LabelStage
from rounds.objects import ObjectStore
from rounds.settings import Settings
from rounds.trail import store as trail
from rounds.trail.model import verify

pytestmark = pytest.mark.stack

SMALL = Script(
    stages=(Stage(10, 4), Stage(4, 8)),
    test_share=0.6,
    seed=3,
    recipes={"segmentation": "lesion_tiny", "classification": "covid_tiny"},
)


@pytest.fixture(scope="module")
def played(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    with connect(stack) as conn, conn.transaction():
        for label in labels.ready(conn, "lesion", 1000):
            service.withdraw(conn, label.id, "operator", "left by another test")
    lines: list[str] = []
    scenery = show.Scenery(SMALL, tmp_path_factory.mktemp("scans"), lines.append)
    return show.run(stack, scenery, lines.append)


def test_every_stage_ends_with_an_accepted_batch_and_trained_models(
    stack: Settings, played: list[dict[str, object]]
) -> None:
    assert [row["cases"] for row in played] == [4, 8]
    for row in played:
        assert row["first_pass"] is not None
        assert row["defective_at_most"] is not None
        assert isinstance(row["auc"], float)
    curve = operate(stack.home, print, "report", "learning-curve")
    assert [stage["cases"] for stage in curve["stages"]] == [4, 8]
    assert all(set(stage["model"]) == {"segmentation", "classification"} for stage in curve["stages"])


def test_the_second_batch_was_pre_labelled_and_its_seconds_kept(
    stack: Settings, played: list[dict[str, object]]
) -> None:
    assert [row["prelabelled"] for row in played] == [False, True]
    with connect(stack) as conn:
        second = batches.everything(conn)[0]
        for label in labels.of_batch(conn, second.id):
            drawn_by_model = labels.prelabel(conn, label.id)
            assert drawn_by_model is not None
            assert label.revision_id is not None
            standing = labels.revision(conn, label.revision_id)
            assert standing.person_id is not None
            assert standing.seconds is not None
            assert "dice" in standing.effort


def test_the_test_set_is_the_same_in_both_versions(stack: Settings, played: list[dict[str, object]]) -> None:
    assert played
    versions = operate(stack.home, print, "dataset", "list")
    tests = []
    for version in versions:
        members = operate(stack.home, print, "dataset", "show", version["dataset"])["manifest"]["members"]
        tests.append({(m["label"], m["mask"]) for m in members if m["split"] == "test"})
        split_of: dict[str, set[str]] = {}
        for member in members:
            split_of.setdefault(member["patient"], set()).add(member["split"])
        assert all(len(splits) == 1 for splits in split_of.values())
    assert len(tests) == 2
    assert tests[0] == tests[1]


def test_models_are_registered_with_what_made_them_and_roll_back(
    stack: Settings, played: list[dict[str, object]]
) -> None:
    assert played
    made = [m for m in operate(stack.home, print, "models", "list") if m["task"] == "segmentation"]
    for model in made:
        operate(stack.home, print, "models", "promote", str(model["model"]))
    back = operate(stack.home, print, "models", "rollback", "--task", "segmentation")
    assert back["model"] == made[-2]["model"]
    shown = operate(stack.home, print, "models", "show", str(made[-1]["model"]))
    assert shown["manifest_sha256"]
    assert shown["recipe"]["name"] == "lesion_tiny"
    assert ObjectStore.from_settings(stack).has(shown["weights"])


def test_the_trail_of_it_all_verifies(stack: Settings, played: list[dict[str, object]]) -> None:
    assert played
    with connect(stack) as conn:
        found = verify(trail.rows(conn))
    assert found.broken_at is None
    assert found.rows > 100


def test_no_label_is_left_half_way(stack: Settings, played: list[dict[str, object]]) -> None:
    assert played
    with connect(stack) as conn:
        for batch in batches.everything(conn)[:2]:
            assert set(labels.stages(conn, batch.id)) == {LabelStage.ACCEPTED}


def test_a_stage_larger_than_the_data_is_refused_in_one_line(
    stack: Settings, played: list[dict[str, object]]
) -> None:
    assert played
    done = subprocess.run(
        [sys.executable, "-m", "rounds", "train", "--stage", "226", "--task", "segmentation"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "226" in done.stderr


def test_status_counts_what_there_is(stack: Settings, played: list[dict[str, object]]) -> None:
    assert played
    done = subprocess.run(
        [sys.executable, "-m", "rounds", "status", "--json"], capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert all(part["up"] for part in told["parts"].values())
    assert told["cases"] >= 14
    assert told["labels"]["accepted"] >= 14
    assert Path(stack.home).stat().st_mode & 0o777 == 0o700
