"""Makes the README's pictures from a demo that is left running: real pages, in headless Chromium.

Run it after `make demo`; it writes PNG files into docs/pictures.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from rounds.db import connect
from rounds.demo.cast import PASSWORD, of_role, operate
from rounds.settings import Settings, load_settings

FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PICTURES = Path(__file__).parent / "pictures"
SIZE = {"width": 1280, "height": 800}


def main() -> None:
    """Take every picture, or say in one line what is missing."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("screenshots: Chromium is not installed: apt-get install chromium")
    settings = load_settings()
    PICTURES.mkdir(exist_ok=True)
    operate(settings.home, print, "batch", "list")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        take_service(browser, settings)
        take_labelstudio(browser, settings)
        browser.close()


def take_service(browser: Browser, settings: Settings) -> None:
    """Take the pages of the QA reviewer, a senior and an engineer."""
    label, batch = find(settings)
    shots = {
        "qa": {"batch": f"/batches/{batch}"},
        "senior": {"label": f"/labels/{label}"},
        "engineer": {"models": "/models"},
    }
    for role, pages in shots.items():
        page = log_in(browser, settings, role)
        for name, path in pages.items():
            page.goto((settings.service_url or "") + path)
            page.wait_for_load_state("networkidle")
            save(page, name)
        page.context.close()


def log_in(browser: Browser, settings: Settings, role: str) -> Page:
    """Log in to the service as the demo's person of a role."""
    page = browser.new_context(viewport=SIZE).new_page()
    page.goto(f"{settings.service_url}/login")
    page.fill("input[name=email]", of_role(role)[0].email)
    page.fill("input[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_load_state("networkidle")
    return page


def find(settings: Settings) -> tuple[int, int]:
    """Return a label with large lesions and the newest batch."""
    with connect(settings) as conn:
        label = conn.execute(
            "SELECT label_id FROM tasks t JOIN revisions r USING (label_id) JOIN labels l ON l.id = t.label_id"
            " WHERE l.stage = 'accepted' AND r.effort ? 'dice' ORDER BY (r.effort->>'changed_voxels')::int DESC LIMIT 1"
        ).fetchone()
        batch = conn.execute("SELECT max(id) AS id FROM batches").fetchone()
    if label is None or batch is None or batch["id"] is None:
        sys.exit("screenshots: there is no finished demo here: run `make demo` first")
    return int(label["label_id"]), int(batch["id"])


def take_labelstudio(browser: Browser, settings: Settings) -> None:
    """Take an annotator's task with its pre-label."""
    with connect(settings) as conn:
        row = conn.execute(
            """
            SELECT t.project_id, t.task_id, p.email, c.shape[1] AS slices FROM tasks t
            JOIN people p ON p.id = t.annotator_id JOIN labels l ON l.id = t.label_id JOIN cases c ON c.id = l.case_id
            JOIN patients pt ON pt.id = c.patient_id
            WHERE t.parent_id IS NOT NULL AND t.round = 1 AND pt.diagnosis = 'covid' ORDER BY t.task_id DESC LIMIT 1
            """
        ).fetchone()
    if row is None:
        return
    page = browser.new_context(viewport=SIZE).new_page()
    page.goto(f"{settings.labelstudio_url}/user/login/")
    page.fill("input[name=email]", row["email"])
    page.fill("input[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_load_state("networkidle")
    page.goto(f"{settings.labelstudio_url}/projects/{row['project_id']}/data?task={row['task_id']}")
    page.wait_for_selector("canvas", timeout=60_000)
    page.wait_for_timeout(6_000)
    for _ in range(int(row["slices"]) // 2):
        page.keyboard.press("Control+ArrowRight")
        page.wait_for_timeout(200)
    page.wait_for_timeout(2_000)
    save(page, "annotate")


def save(page: Page, name: str) -> None:
    """Write one picture."""
    page.screenshot(path=PICTURES / f"{name}.png")
    print(f"docs/pictures/{name}.png")


if __name__ == "__main__":
    main()
