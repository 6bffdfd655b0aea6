"""Text in the pixels: found whatever its size, place and turn; anatomy, metal and padding are not taken for it."""

import logging
import socket
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from tests.unit.rounds.imaging.factories import shared, write_series

from rounds.cases.intake import Release, _refuse_text
from rounds.cases.waivers import releasable
from rounds.demo.phantoms import Style, make_phantom
from rounds.imaging import burned_in, ocr
from rounds.imaging.burned_in import PLAIN, SAMPLE, Written, find_text, hints_at_text
from rounds.imaging.gate import examine
from rounds.imaging.ocr import is_text
from rounds.imaging.refusal import Reason
from rounds.imaging.series import SliceHeader, find_series
from rounds.imaging.strokes import lines_in, strokes_of, strong_strokes_of
from rounds.imaging.volume import Volume, VolumeRefused, load_slice

Plane = npt.NDArray[np.int16]
Planes = npt.NDArray[np.int16]
AT_ONCE = Release((), (), 16)
NAME = "Quistorff 19571204"


def chest(count: int = 8) -> Planes:
    """Make a noisy ellipse of tissue with two lungs on a curved table, 256 x 256 pixels a slice."""
    rng = np.random.default_rng(4)
    drawn = np.full((256, 256), -1000, np.float32)
    cv2.ellipse(drawn, (128, 235), (120, 30), 0, 20, 160, -300.0, 3)
    cv2.ellipse(drawn, (128, 125), (105, 80), 0, 0, 360, 40.0, -1)
    for side in (80, 176):
        cv2.ellipse(drawn, (side, 125), (34, 55), 0, 0, 360, -850.0, -1)
    soft = cv2.GaussianBlur(drawn, (0, 0), 0.8)
    return np.stack([np.rint(soft + rng.normal(0, 25, soft.shape)).astype(np.int16) for _ in range(count)])


def write(
    plane: Plane, value: int, size: float = 0.5, at: tuple[int, int] = (4, 20), text: str = NAME
) -> Plane:
    """Write on a slice in HU; `size` is OpenCV's scale, 0.5 some 11 pixels of capital height."""
    paper = np.zeros(plane.shape, np.uint8)
    cv2.putText(paper, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, 255, 1, cv2.LINE_AA)
    ink = paper.astype(np.float32) / 255
    return np.rint(plane * (1 - ink) + value * ink).astype(np.int16)


def everywhere(volume: Planes, value: int, size: float = 0.5) -> Planes:
    return np.stack([write(plane, value, size) for plane in volume])


@pytest.mark.parametrize("at", [(4, 20), (90, 128), (60, 250)])
@pytest.mark.parametrize("value", [3071, 500, -1024])
def test_strong_strokes_are_where_all_strokes_are_strong(value: int, at: tuple[int, int]) -> None:
    contrast = PLAIN[0][0]
    plane = write(chest(1)[0], value, at=at)
    plane[100:140, 100:110] = 1500
    strong, (top, left) = strong_strokes_of(plane, contrast)
    for every, some in zip(strokes_of(plane), strong, strict=True):
        found = np.zeros(plane.shape, bool)
        found[top : top + some.shape[0], left : left + some.shape[1]] = some >= contrast
        np.testing.assert_array_equal(found, every >= contrast)
    (nothing, _), _ = strong_strokes_of(np.full((64, 64), -1000, np.int16), contrast)
    assert nothing.size == 0


@pytest.mark.parametrize(("at", "region"), [((4, 20), "top left"), ((90, 250), "bottom middle")])
def test_text_in_one_slice_is_placed_in_the_whole_slice(at: tuple[int, int], region: str) -> None:
    volume = chest(24)
    volume[7] = write(volume[7], 3071, at=at)
    assert find_text(volume) == Written(7, region)


@pytest.mark.parametrize(("value", "size"), [(3071, 0.5), (400, 0.5), (-500, 0.5), (1000, 0.35), (1000, 0.7)])
def test_text_in_every_slice_is_found(value: int, size: float) -> None:
    found = find_text(everywhere(chest(), value, size))
    assert found is not None
    assert found.slice == 0
    assert found.region.startswith("top ")


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_text_is_found_whichever_way_it_is_turned(quarters: int) -> None:
    turned = np.ascontiguousarray(np.rot90(everywhere(chest(), 1000), quarters, axes=(1, 2)))
    assert find_text(turned) is not None


def test_dark_text_in_tissue_is_found() -> None:
    tissue = np.full((8, 256, 256), 50, np.int16)
    assert find_text(tissue) is None
    assert find_text(everywhere(tissue, -700)) is not None


def test_plain_text_in_a_single_slice_outside_the_sample_is_found() -> None:
    volume = chest(24)
    chosen = burned_in._sample(24)
    lone = next(index for index in range(24) if index not in chosen)
    volume[lone] = write(volume[lone], 3071, at=(100, 250))
    found = find_text(volume)
    assert found is not None
    assert found.slice == lone
    assert found.region.startswith("bottom ")


def test_faint_text_outside_the_sample_is_found_where_the_header_hints_at_it() -> None:
    volume = chest(24)
    chosen = burned_in._sample(24)
    lone = next(index for index in range(24) if index not in chosen)
    volume[lone] = write(volume[lone], -300)
    assert find_text(volume) is None
    found = find_text(volume, hinted=[lone])
    assert found is not None
    assert found.slice == lone


def test_text_too_faint_for_one_slice_is_found_where_it_stands_still() -> None:
    volume = np.full((9, 256, 256), -1000, np.int16)
    volume += np.random.default_rng(1).normal(0, 20, volume.shape).astype(np.int16)
    written = np.stack([write(plane, -820) for plane in volume])
    search = burned_in._Search(is_text)
    assert search.faint(written[4]) == ""
    assert find_text(written) is not None


def test_what_is_no_text_is_not_found() -> None:
    volume = chest()
    assert find_text(volume, hinted=range(len(volume))) is None
    assert find_text(np.full((6, 64, 64), -1024, np.int16)) is None
    noise = np.random.default_rng(2).normal(0, 300, (6, 128, 128)).astype(np.int16)
    assert find_text(noise, hinted=range(6)) is None


def test_orientation_marks_and_a_row_of_clips_are_no_text() -> None:
    volume = chest()
    marked = np.stack([write(plane, 3071, at=(4, 128), text="R") for plane in volume])
    assert find_text(marked) is None
    for plane in volume:
        for step in range(8):
            cv2.circle(plane, (90 + 9 * step, 60), 2, (3071,), -1)
    assert find_text(volume, hinted=range(len(volume))) is None


def test_padding_around_the_circle_is_no_text() -> None:
    volume = chest()
    rows, columns = np.ogrid[:256, :256]
    volume[:, (rows - 128) ** 2 + (columns - 128) ** 2 > 126**2] = 3071
    assert find_text(volume, hinted=range(len(volume))) is None


@pytest.mark.parametrize("kernel", [-1.0, 1.0])
def test_phantoms_have_no_text(kernel: float) -> None:
    phantom = make_phantom(
        3, "covid", spacing=(5.0, 1.4, 1.4), shape=(8, 256, 256), style=Style(25, kernel, 0)
    )
    assert find_text(phantom.hu, hinted=range(8)) is None
    assert find_text(everywhere(phantom.hu, 1000)) is not None


@pytest.mark.parametrize("folder", ["covid-ct-md/COVID-19/P001", "totalseg-ct", "wg04"])
def test_real_scans_have_no_text_until_it_is_written(folder: str) -> None:
    slices = find_series(shared(folder)).series[0].slices
    real = [load_slice(one) for one in slices[:: max(1, len(slices) // 6)]]
    assert find_text(np.stack(real)) is None
    assert find_text(everywhere(np.stack(real), 400)) is not None


def test_readings_are_bounded() -> None:
    asked: list[int] = []

    def never(picture: Plane, contrast: int, letters: int) -> bool:
        asked.append(letters)
        return False

    busy = chest(4)
    for plane in busy:
        for row in range(15):
            plane[:] = write(plane, 3071, 0.35, at=(4, 12 + 16 * row), text="abcdef ghi jklmn")
    assert find_text(busy, reads=never) is None
    assert len(asked) == burned_in.MAX_READINGS


def test_the_sample_has_both_ends_and_the_middle_and_is_always_the_same() -> None:
    chosen = burned_in._sample(100)
    assert len(set(chosen)) == SAMPLE
    assert {0, 50, 99} <= set(chosen)
    assert burned_in._sample(100) == chosen
    assert burned_in._sample(2) == (0, 1)


def test_a_report_has_no_text_of_the_patient(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the recogniser opens a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    ocr._reader.cache_clear()  # so that loading it is seen too
    with caplog.at_level(logging.DEBUG):
        found = find_text(everywhere(chest(), 3071))
    assert found in {Written(0, "top left"), Written(0, "top middle")}
    told = "".join((*capfd.readouterr(), caplog.text, repr(found)))
    assert "quistorff" not in told.lower()
    assert "1957" not in told


@pytest.mark.parametrize(
    ("image_type", "burned", "hint"),
    [
        (("ORIGINAL", "PRIMARY", "AXIAL"), False, False),
        (("DERIVED", "SECONDARY"), False, True),
        (("ORIGINAL", "SECONDARY"), False, True),
        (("ORIGINAL", "PRIMARY"), True, True),
        ((), False, False),
    ],
)
def test_headers_hint_at_text(image_type: tuple[str, ...], burned: bool, hint: bool) -> None:
    one = SliceHeader(Path("x"), "", "", "", "", "", "", image_type=image_type, burned_in=burned)
    assert hints_at_text(one) is hint


def test_intake_refuses_text_until_somebody_has_looked(tmp_path: Path) -> None:
    series = find_series(write_series(tmp_path)).series[0]
    stack = examine(series).stacks[0]
    plane = write(np.full((64, 256), -1000, np.int16), 1000)
    scanned = Volume(np.stack([plane] * 16), (2.0, 0.8, 0.7), np.eye(4))
    with pytest.raises(VolumeRefused) as caught:
        _refuse_text(scanned, series, stack, AT_ONCE)
    refusal = caught.value.refusal
    assert (refusal.code, refusal.files) == (Reason.BURNED_IN_TEXT, (stack.slices[0].path,))
    assert refusal.detail.startswith("slice 1 of 16 from below, ")
    assert releasable(refusal.code)
    _refuse_text(scanned, series, stack, replace(AT_ONCE, over=("burned_in_text",)))
    with pytest.raises(VolumeRefused):
        _refuse_text(scanned, series, stack, replace(AT_ONCE, over=("secondary_capture", "not_a_chest")))


def test_a_long_line_or_an_arc_is_no_row_of_glyphs() -> None:
    plane = np.full((128, 128), -1000, np.int16)
    cv2.ellipse(plane, (64, 64), (50, 12), 0, 0, 180, (3071,), 2)
    cv2.line(plane, (4, 10), (120, 14), (3071,), 2)
    assert list(lines_in(strokes_of(plane)[0], PLAIN[0][0])) == []
