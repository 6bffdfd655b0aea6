"""The pages in a real browser: a checker and an engineer by keyboard, others by mouse; no other host is asked."""

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright
from tests.integration.clinic import PASSWORD, WINDOW, Clinic, build, database, phantom
from tests.integration.ward import take_in

from rounds import orchestration
from rounds.app import create_app
from rounds.checks.model import Finding, Verdict
from rounds.checks.service import finding_of
from rounds.imaging.render import slice_png
from rounds.objects import ObjectStore
from rounds.settings import Settings

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
pytestmark = [
    pytest.mark.stack,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install it to run the browser tests"),
]


@pytest.fixture
def clinic(stack: Settings, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """Build a clinic with two labels, each submitted once; flows are asked for but not run."""
    monkeypatch.setattr(orchestration, "start_flow", lambda *_args, **_kwargs: "run")
    built = build(database(stack, "rounds_test_pages"), cases=2, shape=(16, 96, 96))
    built.submit_all()
    return built


@pytest.fixture
def address(clinic: Clinic) -> Iterator[str]:
    """Serve the clinic with uvicorn on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(clinic.settings), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.started
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


@pytest.fixture
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


class Visit:
    """One person at a browser; remembers every host that was asked and every error on the console."""

    def __init__(self, browser: Browser, address: str, short: str) -> None:
        self.hosts: set[str] = set()
        self.errors: list[str] = []
        self.address = address
        self.page: Page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.goto(f"{address}/login")
        self.page.fill("#email", f"{short}@clinic.example")
        self.page.fill("#password", PASSWORD)
        self.page.press("#password", "Enter")
        self.page.wait_for_url(f"{address}/")

    def shade(self) -> tuple[int, int]:
        """Return how many pixels of the picture are reddish (the mask), and how many grey ones are not black."""
        red, grey = self.page.evaluate(
            """() => {
                const canvas = document.getElementById("picture");
                const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
                let red = 0, grey = 0;
                for (let at = 0; at < data.length; at += 4) {
                    if (data[at] - data[at + 1] > 30) red += 1;
                    else if (data[at] > 40) grey += 1;
                }
                return [red, grey];
            }"""
        )
        return int(red), int(grey)

    def at_slice(self, index: int) -> None:
        """Wait until the slice is drawn."""
        self.page.wait_for_function("wanted => window.roundsViewer.state.shown === wanted", arg=index)

    def index(self) -> int:
        return int(self.page.get_attribute("#viewer", "data-index") or -1)

    def settled(self) -> None:
        self.page.wait_for_function(
            "() => window.roundsViewer.state.shown === window.roundsViewer.state.index"
        )

    def left_cleanly(self) -> None:
        """Assert that only our own host was asked and that nothing broke (a refused policy is an error, too)."""
        assert self.hosts == {urlsplit(self.address).netloc}
        assert self.errors == []


def look_around(visit: Visit) -> int:
    """Go through the slices by key and wheel, overlay on, off and outlined; return the first marked slice met."""
    page = visit.page
    visit.at_slice(15)
    red, grey = visit.shade()
    assert red == 0
    assert grey > 10_000

    page.keyboard.press("n")
    visit.settled()
    marked = visit.index()
    assert marked < 15
    assert visit.shade()[0] > 200
    page.keyboard.press("Space")
    assert visit.shade()[0] == 0
    page.keyboard.press("Space")
    filled = visit.shade()[0]
    page.keyboard.press("o")
    assert 0 < visit.shade()[0] < filled
    page.keyboard.press("ArrowDown")
    visit.at_slice(marked - 1)
    page.mouse.move(500, 400)
    page.mouse.wheel(0, 100)
    visit.at_slice(marked - 2)
    page.keyboard.press("k")
    visit.at_slice(marked - 1)
    return marked


def test_a_checker_works_by_keyboard_alone(browser: Browser, address: str, clinic: Clinic) -> None:
    visit = Visit(browser, address, "ben")
    page = visit.page
    page.click("text=Start with label")
    page.wait_for_selector("#viewer[data-ready]")
    marked = look_around(visit)

    page.keyboard.press("Enter")
    assert "Choose pass" in page.inner_text("#answer")
    page.keyboard.press("f")
    page.keyboard.press("Enter")
    assert "at least one reason" in page.inner_text("#answer")
    page.keyboard.press("m")
    page.keyboard.press("3")
    page.keyboard.press("t")
    page.keyboard.type("reaches further y 1 m")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    assert f"inexact boundary · slice {marked}" in page.inner_text("#confirm-text")
    assert page.is_visible("#confirm-unseen")
    page.keyboard.press("Enter")
    page.wait_for_url("**/checks/2?sent=1")
    assert "Label 1 sent" in page.inner_text("header")

    page.wait_for_selector("#viewer[data-ready]")
    page.keyboard.press("y")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?sent=2")
    assert "Nothing else waits" in page.inner_text("main")
    with clinic.connect() as conn:
        rows = conn.execute("SELECT * FROM checks ORDER BY label_id").fetchall()
    given = [finding_of(row) for row in rows]
    assert given == [
        Finding(Verdict.FAIL, given[0].reasons, (marked - 1,), "reaches further y 1 m"),
        Finding(Verdict.PASS),
    ]
    assert given[0].reasons == ("boundary",)
    visit.left_cleanly()


def test_what_moved_on_meanwhile_is_told_and_nothing_is_lost(
    browser: Browser, address: str, clinic: Clinic
) -> None:
    visit = Visit(browser, address, "ben")
    page = visit.page
    page.goto(f"{address}/checks/1")
    page.wait_for_selector("#viewer[data-ready]")
    with clinic.connect() as conn, conn.transaction():
        conn.execute("UPDATE labels SET stage = 'withdrawn', reason = 'motion' WHERE id = 1")
    page.fill("#note", "my long note")
    page.keyboard.press("Escape")
    page.keyboard.press("y")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.wait_for_selector("#answer .error")
    assert "label 1 is withdrawn" in page.inner_text("#answer").lower()
    assert page.input_value("#note") == "my long note"
    assert visit.hosts == {urlsplit(address).netloc}


def test_audit_and_decision(browser: Browser, address: str, clinic: Clinic) -> None:
    for label in clinic.labels():
        for checker in ("ben", "bea"):
            clinic.check(label.id, checker, Finding(Verdict.PASS))
    senior = Visit(browser, address, "sue")
    senior.page.click("text=Start with label")
    senior.page.wait_for_selector("#viewer[data-ready]")
    assert clinic.staff["ann"].name not in senior.page.content()
    senior.page.check("input[value=pass]")
    senior.page.click("#send")
    senior.page.click("#confirm-send")
    senior.page.wait_for_url("**/?sent=*")
    senior.left_cleanly()

    reviewer = Visit(browser, address, "quin")
    reviewer.page.on("dialog", lambda dialog: dialog.accept())
    reviewer.page.click("text=Decide batch")
    sentence = "0 of 1 drawn failed: with 95 % confidence at most 1 of the 2 labels are defective."
    assert sentence in reviewer.page.inner_text(".decide")
    reviewer.page.click("text=Reject the batch")
    reviewer.page.wait_for_selector("#answer .error")
    assert "rejected with a note" in reviewer.page.inner_text("#answer")
    reviewer.page.click("text=Accept the batch")
    reviewer.page.wait_for_selector("h1 .accepted")
    assert {label.stage for label in clinic.labels()} == {"accepted"}
    assert reviewer.hosts == {urlsplit(address).netloc}


def add_study(clinic: Clinic) -> tuple[int, int]:
    """Take in a thin and a thick series of one study, with pictures; the rule chooses the thin one."""
    shape = (16, 96, 96)
    objects = ObjectStore.from_settings(clinic.settings)
    slices = tuple(objects.put(slice_png(plane, WINDOW), ".png") for plane in phantom(shape, 5)[0])
    with clinic.connect() as conn, conn.transaction():
        thin, thick = (
            take_in(conn, "one study", step=step, height=16 * step, shape=shape, slices=slices)
            for step in (2.5, 2.7)
        )
    return thin, thick


def tab_to(page: Page, wanted: str) -> None:
    """Press Tab until what has the focus says what is wanted."""
    for _ in range(60):
        page.keyboard.press("Tab")
        name = page.evaluate(
            "() => { const on = document.activeElement; return on.ariaLabel || on.id || on.innerText; }"
        )
        if wanted in name:
            return
    raise AssertionError(f"no way to {wanted!r} by Tab")


def test_an_engineer_has_another_series_read_by_keyboard_alone(
    browser: Browser, address: str, clinic: Clinic
) -> None:
    thin, thick = add_study(clinic)
    visit = Visit(browser, address, "eve")
    page = visit.page
    tab_to(page, "Cases")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{address}/cases")
    tab_to(page, f"Compare the 2 series of the study of case {thick}")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{address}/cases/{thick}/series")
    assert f"Case {thin} is to be read" in page.inner_text("h1")
    page.wait_for_function(
        "() => [...document.images].filter(one => one.className === 'glance' && one.naturalWidth === 96).length === 2"
    )

    tab_to(page, f"Read case {thick}")
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "why", "the empty reason is asked for first"
    assert f"Case {thin} is to be read" in page.inner_text("h1")
    page.keyboard.type("the thin one has motion")
    tab_to(page, f"Read case {thick}")
    page.keyboard.press("Enter")
    page.wait_for_function(
        f"() => document.querySelector('h1').innerText.includes('Case {thick} is to be read')"
    )
    assert "Evelyn Bergmann says the thin one has motion" in page.inner_text("main")

    with clinic.connect() as conn:
        row = conn.execute(
            "SELECT id, choice, chosen_by FROM cases WHERE chosen AND study IS NOT NULL"
        ).fetchone()
    actor = clinic.staff["eve"].actor
    assert row == {"id": thick, "choice": "the thin one has motion", "chosen_by": actor}
    visit.left_cleanly()


def test_a_choice_that_comes_too_late_is_told_and_the_reason_is_kept(
    browser: Browser, address: str, clinic: Clinic
) -> None:
    thin, thick = add_study(clinic)
    visit = Visit(browser, address, "ada")
    page = visit.page
    page.goto(f"{address}/cases/{thick}/series")
    with clinic.connect() as conn, conn.transaction():
        whole = take_in(conn, "one study", step=2.5, height=400)
    page.fill("#why", "my long reason")
    tab_to(page, f"Read case {thick}")
    page.keyboard.press("Enter")
    page.wait_for_selector("#answer .error")
    assert f"Case {whole} was chosen meanwhile" in page.inner_text("#answer")
    assert page.input_value("#why") == "my long reason"
    assert f"Case {thin} is to be read" in page.inner_text("h1"), "nothing was loaded over the reason"
