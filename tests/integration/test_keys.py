"""Rotating the key: known patients stay known, what was taken in stays in, and new patients get the new key."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from click.testing import CliRunner
from tests.integration.scans import SECRETS, write_series

from rounds.cases import holding, keys, spool, store
from rounds.cases.archive import unpack
from rounds.cases.intake import take_in
from rounds.cases.key_commands import key as commands
from rounds.cases.keys import KeysInUse
from rounds.cases.model import Outcome
from rounds.cases.secret import key_ring
from rounds.db import connect
from rounds.imaging.pseudonyms import key_id, pseudonym
from rounds.imaging.series import find_series
from rounds.objects import ObjectStore
from rounds.settings import Settings
from rounds.trail.store import history
from rounds_flows.ingest import intake_for, tell_facts

pytestmark = pytest.mark.stack

SERIES = "1.2.826.0.1.3680043.2.1125.90"


@pytest.fixture
def own(stack: Settings, tmp_path: Path) -> Settings:
    """Give a test a key file of its own beside the shared stack."""
    return stack.model_copy(
        update={"pseudonym_key_file": tmp_path / "keys" / "pseudonym.key", "home": tmp_path}
    )


def brought(settings: Settings, folder: Path, site: str) -> Outcome:
    (series,) = find_series(folder).series
    with connect(settings) as conn:
        return take_in(intake_for(settings, conn, site), series)


def case_of(settings: Settings, outcome: Outcome) -> tuple[store.Case, pydicom.Dataset, str]:
    with connect(settings) as conn:
        (accepted,) = outcome.accepted
        case = store.get(conn, accepted["case"])
        row = conn.execute("SELECT key_id FROM cases WHERE id = %s", (case.id,)).fetchone()
    archive = ObjectStore.from_settings(settings).get(case.dicom)
    assert row is not None
    return case, pydicom.dcmread(BytesIO(next(iter(unpack(archive))))), row["key_id"]


def rotated(settings: Settings, forget: bool = False) -> str:
    with connect(settings) as conn:
        return keys.rotate(settings, conn, "operator", forget).ids[0]


def test_a_known_patient_stays_known_and_a_new_one_gets_the_new_key(own: Settings, tmp_path: Path) -> None:
    write_series(tmp_path / "first", slices=48, series=f"{SERIES}.1")
    write_series(tmp_path / "second", slices=47, series=f"{SERIES}.2")
    write_series(tmp_path / "other", slices=47, series=f"{SERIES}.3", patient="SOMEBODY-NEW-1")
    first, before, first_key = case_of(own, brought(own, tmp_path / "first", "Keys"))
    old = key_ring(own)
    new_id = rotated(own)
    assert first_key == old.ids[0] != new_id

    again = brought(own, tmp_path / "first", "Keys")
    assert (again.accepted, again.quarantined, again.unchanged) == ((), (), 1)
    second, after, second_key = case_of(own, brought(own, tmp_path / "second", "Keys"))
    assert (second.patient_id, second_key) == (first.patient_id, first_key)
    assert after.StudyDate == before.StudyDate != SECRETS["StudyDate"]
    assert after.StudyInstanceUID == before.StudyInstanceUID
    other, _, other_key = case_of(own, brought(own, tmp_path / "other", "Keys"))
    ring = key_ring(own)
    assert (other.patient_id, other_key) == (pseudonym(ring.current, "Keys", "SOMEBODY-NEW-1"), new_id)
    assert brought(own, tmp_path / "other", "Keys").unchanged == 1

    with connect(own) as conn:
        used = {use.id: use for use in keys.uses(conn, ring)}
        assert [(one.actor, one.action) for one in history(conn, "key", new_id)] == [("operator", "rotate")]
    assert (used[new_id].state, used[new_id].cases) == ("current", 1)
    assert (used[first_key].state, used[first_key].cases, used[first_key].patients) == ("retired", 2, 1)


def test_what_was_held_is_held_once_and_can_be_released_after_a_rotation(
    own: Settings, tmp_path: Path
) -> None:
    write_series(tmp_path / "short", slices=8, series=f"{SERIES}.4")
    (entry,) = brought(own, tmp_path / "short", "Keys").quarantined
    rotated(own)
    (same,) = brought(own, tmp_path / "short", "Keys").quarantined
    assert same["quarantine"] == entry["quarantine"]
    with connect(own) as conn:
        row = conn.execute("SELECT series FROM quarantine WHERE id = %s", (entry["quarantine"],)).fetchone()
        assert row is not None
        assert keys.of_series(conn, key_ring(own).keys, f"{SERIES}.4") == row["series"]
        holding.decide(conn, entry["quarantine"], "released", "operator", "a neonate")
    assert len(brought(own, tmp_path / "short", "Keys").accepted) == 1


def test_a_manifest_finds_the_patients_of_the_retired_key(own: Settings, tmp_path: Path) -> None:
    write_series(tmp_path / "in", slices=46, series=f"{SERIES}.5", patient="MANIFEST-PATIENT-1")
    case, _, _ = case_of(own, brought(own, tmp_path / "in", "Keys"))
    rotated(own)
    text = "patient_id,diagnosis,nat_date\nMANIFEST-PATIENT-1,covid,2020-02-20\n"
    tell_facts(own, spool.Request(tmp_path / "in", "Keys", text))
    with connect(own) as conn:
        row = conn.execute(
            "SELECT diagnosis, nat_date FROM patients WHERE id = %s", (case.patient_id,)
        ).fetchone()
    assert row is not None
    assert row["diagnosis"] == "covid"
    assert row["nat_date"] < date(2020, 2, 20)


def test_forgetting_makes_strangers_and_says_so(own: Settings, tmp_path: Path) -> None:
    write_series(tmp_path / "in", slices=45, series=f"{SERIES}.6", patient="FORGOTTEN-1")
    case, _, old_id = case_of(own, brought(own, tmp_path / "in", "Keys"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("rounds.cases.key_commands.load_settings", lambda: own)
        stopped = CliRunner().invoke(commands, ["rotate", "--forget"], input="n\n")
        assert stopped.exit_code == 1
        assert "becomes a stranger's" in stopped.stderr
        assert key_ring(own).ids == (old_id,)
        done = CliRunner().invoke(commands, ["rotate", "--forget", "--yes", "--json"])
        assert done.exit_code == 0
        shown = {one["id"]: one["state"] for one in json.loads(done.stdout)}
        plain = CliRunner().invoke(commands, ["status", "--json"])
    assert shown[old_id] == "not in the file"
    assert json.loads(plain.stdout)[0]["state"] == "current"
    stranger, _, new_id = case_of(own, brought(own, tmp_path / "in", "Keys"))
    assert new_id == key_ring(own).ids[0] != old_id
    assert stranger.id != case.id
    assert stranger.patient_id != case.patient_id


@contextmanager
def taking_in(settings: Settings) -> Iterator[None]:
    with connect(settings) as conn:
        keys.lent(settings, conn)
        yield


def test_a_rotation_waits_for_scans_that_are_being_taken_in(
    own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = key_ring(own)
    monkeypatch.setattr(keys, "PATIENCE", "300ms")
    with taking_in(own), taking_in(own), pytest.raises(KeysInUse):
        rotated(own)
    assert key_ring(own) == before
    monkeypatch.setattr(keys, "PATIENCE", "30s")
    done: list[str] = []
    waiting = threading.Thread(target=lambda: done.append(rotated(own)))
    with taking_in(own):
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
        assert key_ring(own) == before
    waiting.join(20)
    assert done == [key_ring(own).ids[0]] != [key_id(before.current)]
    assert asdict(key_ring(own))["retired"] == before.keys
