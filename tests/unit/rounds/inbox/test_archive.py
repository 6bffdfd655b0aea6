"""Archives that answer badly: pages, counts, broken transfers, and nothing of an address in any error."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.rounds.imaging.factories import SERIES, slice_of, write

from rounds.inbox.archive import Archive, ArchiveFailed, RemoteSeries, SeriesUnfit, matches
from rounds.inbox.model import CLASSES
from rounds.inbox.pulling import NothingAsked, lines_of, queries_of

BASE = "http://127.0.0.1:8042/dicom-web"
KIND = 'multipart/related; type="application/dicom"; boundary=edge'
Answer = Callable[[httpx.Request], httpx.Response]


def archive(answer: Answer) -> Archive:
    return Archive(BASE, transport=httpx.MockTransport(answer))


def study(number: int, accession: str = "A1") -> dict[str, Any]:
    return {"0020000D": {"vr": "UI", "Value": [f"1.2.{number}"]}, "00080050": {"Value": [accession]}}


def series(number: int, count: int | None, modality: str = "CT") -> dict[str, Any]:
    found: dict[str, Any] = {"0020000E": {"Value": [f"1.3.{number}"]}, "00080060": {"Value": [modality]}}
    return found | ({"00201209": {"vr": "IS", "Value": [count]}} if count is not None else {})


def test_series_of_all_pages_are_found_with_their_counts() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        offset = int(request.url.params["offset"])
        if request.url.path.endswith("/studies"):
            return httpx.Response(200, json=[study(n) for n in range(130)][offset : offset + 100])
        if request.url.path.endswith("/instances"):
            return httpx.Response(200, json=[{"00080018": {"Value": [f"1.4.{n}"]}} for n in range(7)])
        number = int(request.url.path.split("/")[-2].rpartition(".")[2])
        more = [series(number, None if number == 5 else 40), series(1000 + number, 3, "SR")]
        return httpx.Response(200, json=more)

    found = list(archive(answer).find({"StudyDate": "20200101-"}))
    assert len(found) == 130
    assert {one.count for one in found} == {40, 7}


def test_a_server_that_ignores_pages_and_keys_neither_hangs_nor_floods() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        if request.url.path.endswith("/studies"):
            return httpx.Response(200, json=[study(n, "A1" if n == 3 else "B2") for n in range(150)])
        return httpx.Response(200, json=[series(1, 40)])

    assert len(list(archive(answer).find({"AccessionNumber": "A1"}))) == 1
    assert len(asked) == 3


def test_an_archive_is_asked_about_one_series() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/studies/1.2.404/series"):
            return httpx.Response(404)
        if request.url.path.endswith("/instances"):
            kinds = [CLASSES[0]] * 5 + ["1.2.840.10008.5.1.4.1.1.7"]
            found = [
                {"00080018": {"Value": [f"1.4.{n}"]}, "00080016": {"Value": [kind]}}
                for n, kind in enumerate(kinds)
            ]
            return httpx.Response(200, json=found)
        return httpx.Response(200, json=[series(1, 40), series(2, None), series(3, 30)])  # ignores the key

    asked = archive(answer)
    assert [asked.told("1.2", f"1.3.{n}") for n in (1, 2, 3, 4)] == [40, 0, 30, None]
    assert asked.told("1.2.404", "1.3.1") is None
    assert asked.listed("1.2", "1.3.1") == 5


@pytest.mark.parametrize(
    ("told", "days", "fits"),
    [
        ("20200210", "20200201-20200228", True),
        ("20200301", "20200201-20200228", False),
        ("20200301", "20200201-", True),
        ("20200101", "20200201-", False),
        ("", "20200201-", True),
    ],
)
def test_days_are_looked_at_again(told: str, days: str, fits: bool) -> None:
    assert matches({"00080020": {"Value": [told]}}, {"StudyDate": days}) is fits


def body(tmp_path: Path, numbers: range, cut: int = 0) -> bytes:
    parts = [write(tmp_path / f"{n}.dcm", slice_of(n)).read_bytes() for n in numbers]
    head = b"--edge\r\nContent-Type: application/dicom\r\n\r\n"
    whole = b"".join(head + part + b"\r\n" for part in parts) + b"--edge--\r\n"
    return whole[: len(whole) - cut]


@pytest.mark.parametrize(
    ("numbers", "cut", "uid", "most", "wrong"),
    [
        (range(4), 0, SERIES, 10**6, ""),
        (range(3), 0, SERIES, 10**6, "3 of 4 instances came"),
        (range(4), 2000, SERIES, 10**6, "broke off"),
        (range(4), 0, "1.2.3.4.5", 10**6, "another series"),
        (range(4), 0, SERIES, 100, "larger than any slice"),
    ],
)
def test_a_series_is_fetched_whole_or_not_at_all(
    tmp_path: Path, numbers: range, cut: int, uid: str, most: int, wrong: str
) -> None:
    data = body(tmp_path, numbers, cut)
    (tmp_path / "room").mkdir()
    asked = archive(lambda _request: httpx.Response(200, content=data, headers={"Content-Type": KIND}))
    if not wrong:
        assert asked.fetch(RemoteSeries("1.2", uid, 4), tmp_path / "room", most) == 4
        assert len(list((tmp_path / "room").iterdir())) == 4
        return
    with pytest.raises(SeriesUnfit, match=wrong) as caught:
        asked.fetch(RemoteSeries("1.2", uid, 4), tmp_path / "room", most)
    assert uid not in str(caught.value)


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError(f"nothing at {request.url}", request=request)


@pytest.mark.parametrize(
    "answer",
    [
        refuse,
        lambda _request: httpx.Response(401),
        lambda _request: httpx.Response(200, text="<html>log in</html>"),
        lambda _request: httpx.Response(200, json={"error": "SMITH"}),
    ],
)
def test_errors_and_logs_quote_neither_addresses_nor_answers(
    answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(ArchiveFailed) as caught:
        list(archive(answer).find({"PatientID": "SMITH-1"}))
    assert "SMITH" not in str(caught.value) + caplog.text
    assert "studies" not in str(caught.value) + caplog.text
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "base", ["http://pacs.example/dicom-web", "ftp://127.0.0.1/x", "https://me:secret@pacs.example/"]
)
def test_addresses_that_would_give_something_away_are_refused(base: str) -> None:
    with pytest.raises(ArchiveFailed):
        Archive(base)


def test_identifiers_come_from_a_file_and_never_as_patterns(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("\ufeffA1\n\n A2 \nA1\n", encoding="utf-8")
    numbers = lines_of(tmp_path / "list", "accessions")
    assert numbers == ["A1", "A2"]
    found = list(queries_of("20200101-", {"AccessionNumber": numbers}))
    assert found == [{"AccessionNumber": n, "StudyDate": "20200101-"} for n in numbers]
    for days, named in (("", {}), ("20200101-", {"PatientID": ["SM*"]})):
        with pytest.raises(NothingAsked) as caught:
            list(queries_of(days, named))
        assert "SM" not in str(caught.value)
