"""Quarantine on the real stack: zips, releases days later, discards that last, late slices, roles, no name anywhere."""

import json
import secrets
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient
from tests.integration.clinic import Clinic, as_person, build, database
from tests.integration.scans import SECRETS, write_series
from tests.integration.test_ingest import ingest, places_with, rounds

from rounds import orchestration
from rounds.app import create_app
from rounds.cases import holding, quarantine, vault
from rounds.cases.holding import AlreadyDecided
from rounds.cases.intake import take_in
from rounds.cases.model import Refused
from rounds.db import connect
from rounds.imaging.series import find_series
from rounds.settings import Settings
from rounds.trail.store import history
from rounds_flows.ingest import intake_for
from rounds_flows.quarantine import carry_out

pytestmark = pytest.mark.stack
NEEDLES = {value.encode() for value in SECRETS.values()} | {b"MUSTERFRAU"}
SERIES = f"1.2.31.{secrets.randbelow(10**9)}"
PRIVATE = ("quarantine", "spool")


def told(settings: Settings, *words: str) -> Any:
    done = rounds(settings, "quarantine", *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refused(settings: Settings, *words: str) -> str:
    done = rounds(settings, "quarantine", *words)
    assert done.returncode == 1
    return done.stderr


def leaks(settings: Settings) -> list[str]:
    """Name every place with patient data, but for the operator's private folders."""
    return [
        place
        for place in places_with(settings, NEEDLES)
        if not place.startswith(tuple(f"file {name}/" for name in PRIVATE))
    ]


def test_a_released_scan_goes_on_days_later_and_the_case_remembers(stack: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "MUSTERFRAU-ERIKA"
    write_series(folder, slices=8, series=f"{SERIES}.1")
    (entry,) = ingest(stack, folder, "Short")["quarantined"]
    number = entry["quarantine"]
    assert entry["reason"] == "too_few_slices"
    assert len(told(stack, "show", str(number))["original_files"]) == 8
    assert "MUSTERFRAU" in told(stack, "show", str(number))["original_files"][0]
    assert leaks(stack) == []
    shutil.rmtree(folder)  # days later the files are gone
    assert "say why" in refused(stack, "release", str(number), "--reason", " ")
    done = told(stack, "release", str(number), "--reason", "a neonate, the whole chest is there")
    assert done["outcome"] == "became a case"
    assert vault.look(stack.home, number) is None
    with connect(stack) as conn:
        case = conn.execute("SELECT * FROM cases WHERE id = %s", (done["case"],)).fetchone()
        events = [(event.action, event.actor, event.reason) for event in history(conn, "scan", number)]
        let_in = [event.reason for event in history(conn, "case", done["case"]) if event.action == "let_in"]
    assert case is not None
    assert (case["released_over"], case["source_slices"], case["site"]) == (["too_few_slices"], 8, "Short")
    assert let_in == ["too_few_slices"]
    assert events[:2] == [
        ("quarantine", "flow:ingest", "too_few_slices"),
        ("release", "operator", "a neonate, the whole chest is there"),
    ]
    write_series(folder, slices=8, series=f"{SERIES}.1")
    assert ingest(stack, folder, "Short") == {"accepted": [], "quarantined": [], "unchanged": 1}
    assert "released already" in refused(stack, "release", str(number), "--reason", "again")
    assert leaks(stack) == []


def test_a_scan_released_over_one_reason_is_held_for_the_next(stack: Settings, tmp_path: Path) -> None:
    write_series(tmp_path / "in", slices=8, step=14.0, series=f"{SERIES}.2")
    found = {
        entry["reason"]: entry["quarantine"] for entry in ingest(stack, tmp_path / "in", "Two")["quarantined"]
    }
    assert set(found) == {"too_few_slices", "thickness_out_of_range"}
    first = told(stack, "release", str(found["too_few_slices"]), "--reason", "known")
    assert first["outcome"] == "refused again: thickness_out_of_range"
    assert first["case"] is None
    second = told(stack, "release", str(found["thickness_out_of_range"]), "--reason", "old scanner")
    assert second["outcome"] == "became a case"
    with connect(stack) as conn:
        row = conn.execute("SELECT released_over FROM cases WHERE id = %s", (second["case"],)).fetchone()
    assert row is not None
    assert row["released_over"] == ["thickness_out_of_range", "too_few_slices"]


def test_some_refusals_can_never_be_released(stack: Settings, tmp_path: Path) -> None:
    write_series(tmp_path / "in", slices=20, leave_out=(9,), series=f"{SERIES}.3")
    (entry,) = ingest(stack, tmp_path / "in", "Gap")["quarantined"]
    number = entry["quarantine"]
    assert "cannot be overridden" in refused(stack, "release", str(number), "--reason", "I want it")
    kept = vault.look(stack.home, number)
    assert kept is not None
    assert kept.copies == {}, "a copy that no release can ever use"
    with connect(stack) as conn:
        assert holding.get(conn, number).state == "held"


def test_a_discarded_scan_stays_away(stack: Settings, tmp_path: Path) -> None:
    write_series(tmp_path / "in", slices=7, series=f"{SERIES}.4")
    (entry,) = ingest(stack, tmp_path / "in", "Gone")["quarantined"]
    number = str(entry["quarantine"])
    assert told(stack, "discard", number, "--reason", "not a chest")["state"] == "discarded"
    assert vault.look(stack.home, int(number)) is None
    assert ingest(stack, tmp_path / "in", "Gone") == {"accepted": [], "quarantined": [], "unchanged": 1}
    assert vault.look(stack.home, int(number)) is None
    assert number not in [str(row["quarantine"]) for row in told(stack, "list")]
    assert "discarded already" in refused(stack, "release", number, "--reason", "back")
    write_series(tmp_path / "in", slices=9, series=f"{SERIES}.4")
    (more,) = ingest(stack, tmp_path / "in", "Gone")["quarantined"]
    assert more["quarantine"] != int(number), "more files than were discarded are a new matter"


def test_a_release_without_its_copy_is_held_again(stack: Settings, tmp_path: Path) -> None:
    write_series(tmp_path / "in", slices=6, series=f"{SERIES}.5")
    (entry,) = ingest(stack, tmp_path / "in", "Lost")["quarantined"]
    number = entry["quarantine"]
    vault.forget(stack.home, number)
    assert "ingest the files again" in told(stack, "release", str(number), "--reason", "known")["outcome"]
    with connect(stack) as conn:
        assert holding.get(conn, number).state == "held"
    ingest(stack, tmp_path / "in", "Lost")
    assert told(stack, "release", str(number), "--reason", "known")["outcome"] == "became a case"


def test_late_slices_are_held_and_a_release_replaces_the_case(stack: Settings, tmp_path: Path) -> None:
    write_series(tmp_path / "in", slices=40, series=f"{SERIES}.6")
    (before,) = ingest(stack, tmp_path / "in", "Late")["accepted"]
    for path in list((tmp_path / "in").iterdir()):
        shutil.copy(path, tmp_path / "in" / f"again-{path.name}")
    assert ingest(stack, tmp_path / "in", "Late") == {"accepted": [], "quarantined": [], "unchanged": 1}
    write_series(tmp_path / "in", slices=44, series=f"{SERIES}.6")
    (entry,) = ingest(stack, tmp_path / "in", "Late")["quarantined"]
    assert entry["reason"] == "more_slices_than_before"
    assert "44 slices now, 40 when it became a case" in entry["detail"]
    done = told(stack, "release", str(entry["quarantine"]), "--reason", "the rest came late")
    assert done["outcome"] == "became a case"
    assert done["case"] != before["case"]
    with connect(stack) as conn:
        row = conn.execute(
            "SELECT replaces, source_slices FROM cases WHERE id = %s", (done["case"],)
        ).fetchone()
        stages = conn.execute("SELECT stage FROM labels WHERE case_id = %s", (before["case"],)).fetchall()
    assert row == {"replaces": [before["case"]], "source_slices": 44}
    assert [label["stage"] for label in stages] == ["withdrawn"]
    assert ingest(stack, tmp_path / "in", "Late") == {"accepted": [], "quarantined": [], "unchanged": 1}


def test_a_zip_becomes_a_case_and_leaves_nothing_behind(stack: Settings, tmp_path: Path) -> None:
    write_series(tmp_path / "in", slices=40, series=f"{SERIES}.7")
    write_series(tmp_path / "in" / "short", slices=5, series=f"{SERIES}.8")
    archive = tmp_path / "MUSTERFRAU.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted((tmp_path / "in").rglob("*.dcm")):
            packed.write(path, f"MUSTERFRAU/{path.relative_to(tmp_path / 'in')}")
    result = ingest(stack, archive, "Zip")
    assert [case["source_slices"] for case in result["accepted"]] == [40]
    (entry,) = result["quarantined"]
    assert entry["files"][0].startswith(f"{archive}!/MUSTERFRAU/short/")
    assert list((stack.home / "scratch").iterdir()) == []
    assert leaks(stack) == []
    archive.unlink()
    done = told(stack, "release", str(entry["quarantine"]), "--reason", "a test of the copy")
    assert done["outcome"] == "became a case"


def test_a_bomb_is_quarantined_with_its_code(stack: Settings, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("../MUSTERFRAU.dcm", b"1")
    (entry,) = ingest(stack, tmp_path / "x.zip", "Bomb")["quarantined"]
    assert entry["reason"] == "unsafe_archive"
    assert ingest(stack, tmp_path / "x.zip", "Bomb")["quarantined"][0]["quarantine"] == entry["quarantine"]
    assert "cannot be overridden" in refused(stack, "release", str(entry["quarantine"]), "--reason", "x")


def test_a_release_cut_off_half_way_is_finished_once(stack: Settings, tmp_path: Path) -> None:
    write_series(tmp_path / "in", slices=8, series=f"{SERIES}.9")
    series = find_series(tmp_path / "in").series[0]
    with connect(stack) as conn:
        intake = intake_for(stack, conn, "Cut")
        number = int(take_in(intake, series).quarantined[0]["quarantine"])
        with conn.transaction():
            quarantine.release(conn, number, "operator", "known")
        (accepted,) = take_in(intake, series).accepted  # and then the power goes
        assert number in holding.unsettled(conn)
        assert carry_out(stack, conn, number) == "became a case"
        assert holding.get(conn, number).case_id == accepted["case"]
        assert vault.look(stack.home, number) is None
        assert carry_out(stack, conn, number) == "nothing to do"
        assert number not in holding.unsettled(conn)


@pytest.fixture(scope="module")
def clinic(stack: Settings) -> Clinic:
    return build(database(stack, "rounds_test_quarantine"), cases=1)


@pytest.fixture
def client(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(orchestration, "start_flow", lambda *_args, **_kwargs: "run")
    with TestClient(create_app(clinic.settings), headers={"sec-fetch-site": "same-origin"}) as running:
        yield running


def held(clinic: Clinic, series: str, reason: str = "too_few_slices") -> int:
    with clinic.connect() as conn, conn.transaction():
        refusal = Refused(series, "north", reason, "8 slices", 8, {"pixels": "96 × 96"})
        return holding.hold(conn, refusal, "flow:ingest").id


def test_only_engineers_and_admins_see_the_page(client: TestClient, clinic: Clinic) -> None:
    number = held(clinic, "roles")
    for short in ("ann", "ben", "sue", "quin"):
        as_person(client, short)
        for method, path in (
            ("GET", ""),
            ("GET", f"/{number}"),
            ("POST", f"/{number}/release"),
            ("POST", f"/{number}/discard"),
        ):
            assert client.request(method, f"/quarantine{path}", data={"why": "x"}).status_code == 403
        assert "/quarantine" not in client.get("/").text
    for short in ("eve", "ada"):
        as_person(client, short)
        assert f"Scan {number}" in client.get("/quarantine").text
        assert "/quarantine" in client.get("/").text
    with clinic.connect() as conn:
        assert holding.get(conn, number).state == "held"


def test_the_page_releases_and_discards_with_a_reason(client: TestClient, clinic: Clinic) -> None:
    as_person(client, "eve")
    one, two = held(clinic, "page-1"), held(clinic, "page-2")
    assert client.post(f"/quarantine/{one}/release", data={"why": "  "}).status_code == 422
    shown = client.post(f"/quarantine/{one}/release", data={"why": "whole <b>chest</b>"}).text
    assert "whole &lt;b&gt;chest&lt;/b&gt;" in shown
    assert "Evelyn Bergmann: release" in shown
    assert client.post(f"/quarantine/{one}/discard", data={"why": "x"}).status_code == 409
    assert "discarded" in client.post(f"/quarantine/{two}/discard", data={"why": "a knee"}).text
    assert client.get("/quarantine/999999").status_code == 404
    assert client.get("/quarantine?state=elsewhere").status_code == 422
    with clinic.connect() as conn:
        assert holding.get(conn, one).decided_by == clinic.staff["eve"].actor


def test_the_button_says_what_can_never_be_released(client: TestClient, clinic: Clinic) -> None:
    as_person(client, "ada")
    number = held(clinic, "never", "undecodable")
    shown = client.get(f"/quarantine/{number}").text
    assert "Release: not possible" in shown
    assert f"/quarantine/{number}/release" not in shown
    answer = client.post(f"/quarantine/{number}/release", data={"why": "please"})
    assert answer.status_code == 409
    assert "cannot be overridden" in answer.text


def test_the_database_keeps_the_states_itself(clinic: Clinic) -> None:
    number = held(clinic, "guards")
    with clinic.connect() as conn:
        with pytest.raises(psycopg.errors.CheckViolation):
            conn.execute("UPDATE quarantine SET state = 'released' WHERE id = %s", (number,))
        with pytest.raises(psycopg.errors.CheckViolation):
            conn.execute("UPDATE quarantine SET reason = 'not_ct' WHERE id = %s", (number,))
        with conn.transaction():
            quarantine.discard(conn, number, "operator", "done with")
        with pytest.raises(psycopg.errors.CheckViolation, match="does not go from discarded to released"):
            conn.execute("UPDATE quarantine SET state = 'released' WHERE id = %s", (number,))
        with pytest.raises(psycopg.errors.IntegrityError):
            conn.execute("DELETE FROM quarantine WHERE id = %s", (number,))
        with pytest.raises(AlreadyDecided):
            quarantine.release(conn, number, "operator", "back")
        assert number in holding.unsettled(conn)
        holding.settle(conn, number, "flow:ingest", "discarded")
        assert number not in holding.unsettled(conn)
