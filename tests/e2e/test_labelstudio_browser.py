"""In a real browser an annotator sees the pre-label, draws and erases, submits: only the strokes change the mask."""

import os
import secrets
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from rounds.labelstudio.client import Client
from rounds.labelstudio.codec import Mask, RegionOrigins, count_origins, results_to_mask
from rounds.labelstudio.people import LOGIN, Account, ensure_account
from rounds.labelstudio.projects import ensure_project
from rounds.labelstudio.schemes import load_scheme
from rounds.labelstudio.sync import SubmittedAnnotation, changed_annotations
from rounds.labelstudio.tasks import TaskSpec, ensure_tasks, task_url
from rounds.objects.store import ObjectStore
from rounds.settings import Settings

pytestmark = [pytest.mark.stack, pytest.mark.browser]

CONFIGS = Path(__file__).parents[2] / "annotation_configs"
SCREENSHOTS = os.environ.get("ROUNDS_SCREENSHOTS")
CHROMIUM = shutil.which("chromium")
QUIET = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZE = 256
SHAPE = (8, SIZE, SIZE)
BRUSH = 17  # the editor's brush reaches 15 pixels from the stroke, and a little for antialiasing
DRAWN, ERASED = 2, 4  # slices
Point = tuple[int, int]  # x, y in pixels of the slice


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH: install it, for instance `apt-get install chromium`")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture
def client(stack: Settings) -> Iterator[Client]:
    with Client.from_settings(stack) as client:
        yield client


def prelabel() -> Mask:
    mask = np.zeros(SHAPE, np.uint8)
    for z in range(SHAPE[0]):
        mask[z, 60 + z : 100, 60 : 100 - z] = 1
        mask[z, 150:170, 150:170] = 1
    mask[3] = 0
    return mask


def slice_urls(stack: Settings) -> tuple[str, ...]:
    store = ObjectStore.from_settings(stack)
    store.ensure_bucket()
    rows, columns = np.ogrid[:SIZE, :SIZE]
    body = ((rows - 128) ** 2 / 110**2 + (columns - 128) ** 2 / 100**2 < 1) * 100
    urls = []
    for z in range(SHAPE[0]):
        ok, png = cv2.imencode(".png", (body + 40 + 20 * np.sin(columns / 9 + z)).astype(np.uint8))
        assert ok
        urls.append(store.presign(store.put(png.tobytes(), ".png"), timedelta(hours=1)))
    return tuple(urls)


def log_in(page: Page, url: str, account: Account) -> None:
    page.goto(url + LOGIN)
    page.fill("input[name=email]", account.email)
    page.fill("input[name=password]", account.password or "")
    page.click("button[type=submit]")
    page.wait_for_url(lambda address: LOGIN not in address)


def go_to_slice(page: Page, number: int) -> None:
    """Turn slices with the keyboard until slice `number` (from 0) shows."""
    pager = page.locator(".lsf-pagination").first
    for step in range(int(pager.inner_text().split()[0]) + 1, number + 2):
        page.keyboard.press("Control+ArrowRight")
        expect(pager).to_contain_text(f"{step} of {SHAPE[0]}")
    expect(page.locator(".konvajs-content")).to_be_visible()
    page.wait_for_timeout(300)


def stroke(page: Page, start: Point, end: Point) -> None:
    """Drag the mouse over the slice, which fills the stage's height from its left edge."""
    box = page.locator(".konvajs-content").first.bounding_box()
    assert box is not None
    scale = box["height"] / SIZE
    (x0, y0), (x1, y1) = ((box["x"] + x * scale, box["y"] + y * scale) for x, y in (start, end))
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move(x1, y1, steps=15)
    page.mouse.up()
    page.wait_for_timeout(300)


def screenshot(page: Page, name: str) -> None:
    """Keep a picture of the page when ROUNDS_SCREENSHOTS names a folder."""
    if SCREENSHOTS is not None:
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png")


def edit_and_submit(page: Page) -> None:
    """Draw a new region on one slice, erase part of a pre-label's region on another, submit."""
    regions = page.locator("[class*=outliner-item__title]")
    expect(regions).to_have_count(7)
    go_to_slice(page, DRAWN)
    page.keyboard.press("1")
    stroke(page, (120, 200), (180, 200))
    expect(regions).to_have_count(8)
    screenshot(page, "labelstudio-stroke")
    page.keyboard.press("Escape")
    go_to_slice(page, ERASED)
    regions.nth(3).click()
    page.keyboard.press("e")
    stroke(page, (70, 75), (85, 75))
    screenshot(page, "labelstudio-erased")
    with page.expect_response(
        lambda answer: "/annotations" in answer.url and answer.request.method == "POST"
    ) as sent:
        page.keyboard.press("Control+Enter")
    assert sent.value.status == 201


def within(start: Point, end: Point) -> Mask:
    """Return where a stroke can have reached, as a slice of booleans."""
    reach = np.zeros((SIZE, SIZE), np.uint8)
    cv2.line(reach, start, end, 1, 2 * BRUSH)
    return reach


@pytest.fixture
def drawn(
    stack: Settings, client: Client, browser: Browser
) -> Iterator[tuple[SubmittedAnnotation, Account, list[str]]]:
    """Play the annotator; give what was submitted, by whom, and every address that the browser asked for."""
    scheme = load_scheme(CONFIGS, "lesion")
    account = ensure_account(client, f"browser-{secrets.token_hex(4)}@rounds.test")
    project = ensure_project(client, account.email, scheme)
    spec = TaskSpec(1, 2, slice_urls(stack), "Missed lesion: slices 4 to 6.", prelabel(), "model-1")
    (ref,) = ensure_tasks(client, project, spec)
    page = browser.new_page(viewport={"width": 1400, "height": 950})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    log_in(page, client.url, account)
    page.goto(task_url(client, project, ref.task_id))
    expect(page.locator(".konvajs-content canvas").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("Missed lesion: slices 4 to 6.")).to_be_visible()
    edit_and_submit(page)
    (annotation,) = changed_annotations(client, project.project_id, None).annotations
    yield annotation, account, asked
    page.close()


def test_a_stroke_changes_the_mask_only_where_it_went(
    stack: Settings, drawn: tuple[SubmittedAnnotation, Account, list[str]]
) -> None:
    annotation, account, asked = drawn
    assert annotation.is_by(account.email)
    assert annotation.lead_time_s is not None
    assert 0 < annotation.lead_time_s < 120
    assert count_origins(annotation.results) == RegionOrigins(manual=1, prediction=6, prediction_changed=1)
    before = prelabel()
    after = results_to_mask(annotation.results, SHAPE, load_scheme(CONFIGS, "lesion"))
    changed = before != after
    assert np.flatnonzero(changed.any(axis=(1, 2))).tolist() == [DRAWN, ERASED]
    assert not (changed[DRAWN] & (within((120, 200), (180, 200)) == 0)).any()
    assert not (changed[ERASED] & (within((70, 75), (85, 75)) == 0)).any()
    assert after[DRAWN, 200, 120:180].all()
    assert not after[ERASED, 75, 70:85].any()
    ours = {urlsplit(str(url)).netloc for url in (stack.labelstudio_url, stack.s3_url)}
    others = {urlsplit(url).netloc for url in asked if url.startswith(("http", "ws"))} - ours
    assert others == set(), "Label Studio's pages ask hosts that are not ours"
