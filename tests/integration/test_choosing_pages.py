"""Which series of a study is read, on its pages: shown with its reason, changed by those who may, or refused."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from tests.integration.clinic import Clinic, as_person, build, database
from tests.integration.ward import take_in

from rounds.app import create_app
from rounds.cases import store
from rounds.settings import Settings
from rounds.trail.store import rows

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def clinic(stack: Settings) -> Clinic:
    return build(database(stack, "rounds_test_choosing_pages"), cases=1)


@pytest.fixture
def client(clinic: Clinic) -> Iterator[TestClient]:
    with TestClient(create_app(clinic.settings), headers={"sec-fetch-site": "same-origin"}) as running:
        yield running


def study(clinic: Clinic, name: str) -> tuple[int, int]:
    """Take in a thin and a thick series of one study; the rule chooses the thin one."""
    with clinic.connect() as conn, conn.transaction():
        return take_in(conn, name, step=1.0), take_in(conn, name, step=5.0)


def read(clinic: Clinic) -> set[int]:
    with clinic.connect() as conn:
        return {one["case"] for one in store.everything(conn) if one["chosen"]}


def told(clinic: Clinic) -> int:
    with clinic.connect() as conn:
        return len(list(rows(conn)))


def cell(page: str, case_id: int) -> str:
    """Return the row of a case in the list."""
    return next(row for row in page.split("<tr>") if row.startswith(f"<td>{case_id}<"))


def test_the_list_says_which_series_is_read_and_why(client: TestClient, clinic: Clinic) -> None:
    thin, thick = study(clinic, "list")
    as_person(client, "quin")
    shown = client.get("/cases").text
    assert "thinner slices than the next" in cell(shown, thin)
    assert f'href="/cases/{thin}/series"' in cell(shown, thin)
    assert f"case {thin} of the same study is" in cell(shown, thick)
    assert "series" not in cell(shown, 1), "a case that stands alone has nothing to compare"
    compared = client.get(f"/cases/{thick}/series").text
    assert f"Case {thin} is to be read" in compared
    assert "5 mm, soft kernel, 60 slices" not in compared, "a QA reviewer has no buttons"
    assert '<td class="number">60</td>' in compared


def test_another_series_is_chosen_with_a_reason_in_one_row_of_the_trail(
    client: TestClient, clinic: Clinic
) -> None:
    thin, thick = study(clinic, "choose")
    as_person(client, "eve")
    before = told(clinic)
    assert client.post(f"/cases/{thick}/choose", data={"why": "  "}).status_code == 422
    assert client.post(f"/cases/{thick}/choose", data={"why": "x" * 501}).status_code == 422
    assert thin in read(clinic)
    shown = client.post(
        f"/cases/{thick}/choose", data={"why": "the thin one <b>moves</b>", "instead_of": str(thin)}
    ).text
    assert f"Case {thick} is to be read" in shown
    assert "Evelyn Bergmann says <q>the thin one &lt;b&gt;moves&lt;/b&gt;</q>" in shown
    assert f"The rule would choose case {thin}" in shown
    assert read(clinic) & {thin, thick} == {thick}
    assert told(clinic) == before + 1
    assert "Evelyn Bergmann says <q>the thin one" in cell(client.get("/cases").text, thick)


def test_a_person_keeps_what_the_rule_chose(client: TestClient, clinic: Clinic) -> None:
    thin, _thick = study(clinic, "keep")
    as_person(client, "ada")
    assert f"Keep case {thin}" in client.get(f"/cases/{thin}/series").text
    kept = client.post(f"/cases/{thin}/choose", data={"why": "seen both", "instead_of": str(thin)})
    assert kept.status_code == 200
    assert "Adele Pohl says <q>seen both</q>" in kept.text
    assert f"Keep case {thin}" not in kept.text
    with clinic.connect() as conn, conn.transaction():
        better = take_in(conn, "keep", step=1.0, height=400)
    shown = client.get(f"/cases/{thin}/series").text
    assert f"Case {thin} is to be read" in shown
    assert f"though case {better} is better by the rule" in shown


def test_only_those_who_release_scans_choose(client: TestClient, clinic: Clinic) -> None:
    thin, thick = study(clinic, "roles")
    for short in ("ann", "ben", "sue", "quin"):
        as_person(client, short)
        assert client.post(f"/cases/{thick}/choose", data={"why": "x"}).status_code == 403
        shown = client.get(f"/cases/{thick}/series")
        assert shown.status_code == (200 if short in ("sue", "quin") else 403)
        assert f"/cases/{thick}/choose" not in shown.text
    for short in ("eve", "ada"):
        as_person(client, short)
        shown = client.get(f"/cases/{thick}/series")
        assert f"/cases/{thick}/choose" in shown.text
        assert "5 mm, soft kernel, 60 slices" in shown.text
    assert 'href="/cases/1/series"' in client.get("/labels/1").text
    assert thin in read(clinic)


def test_a_choice_that_somebody_else_made_meanwhile_is_not_overrun(
    client: TestClient, clinic: Clinic
) -> None:
    thin, thick = study(clinic, "meanwhile")
    with clinic.connect() as conn, conn.transaction():
        thinner = take_in(conn, "meanwhile", step=1.0, height=400)
    as_person(client, "ada")
    before = told(clinic)
    late = client.post(f"/cases/{thick}/choose", data={"why": "x", "instead_of": str(thin)})
    assert late.status_code == 409
    assert f"ase {thinner} was chosen meanwhile" in late.text
    assert thinner in read(clinic)
    assert told(clinic) == before


def test_what_cannot_be_chosen_is_refused_and_offers_no_button(client: TestClient, clinic: Clinic) -> None:
    with clinic.connect() as conn, conn.transaction():
        partial, other = take_in(conn, "late", height=200.0), take_in(conn, "late", step=5.0)
        whole = take_in(conn, "late", replaces=(partial,))
    as_person(client, "eve")
    shown = client.get(f"/cases/{other}/series").text
    assert f"replaced by case {whole}" in shown
    assert f"/cases/{partial}/choose" not in shown
    assert f"case {whole} replaced it" in cell(client.get("/cases").text, partial)
    refused = client.post(f"/cases/{partial}/choose", data={"why": "x"})
    assert refused.status_code == 409
    assert "was replaced" in refused.text
    alone = client.post("/cases/1/choose", data={"why": "x"})
    assert alone.status_code == 409
    assert "not known" in alone.text
    assert "stands for itself" in client.get("/cases/1/series").text
    assert client.get("/cases/999999/series").status_code == 404
    assert client.post("/cases/999999/choose", data={"why": "x"}).status_code == 404


def test_work_that_has_begun_is_told_before_the_choice(client: TestClient, clinic: Clinic) -> None:
    thin, thick = study(clinic, "begun")
    as_person(client, "eve")
    assert "has begun and goes on" not in client.get(f"/cases/{thin}/series").text
    with clinic.connect() as conn, conn.transaction():
        conn.execute(
            "UPDATE labels SET stage = 'annotating', annotator_id = %s, batch_id = %s"
            " WHERE case_id = %s AND scheme = 'lesion'",
            (clinic.staff["ann"].id, clinic.batch_id, thin),
        )
    assert f"Work on 1 label of case {thin} has begun and goes on" in client.get(f"/cases/{thin}/series").text
    client.post(f"/cases/{thick}/choose", data={"why": "motion"})
    assert "not to be read; its label in work goes on" in client.get(f"/cases/{thin}/series").text
