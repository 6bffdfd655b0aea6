"""What the browser gets is ours or locked by hash, and asks no other host for anything."""

import hashlib
import re
from pathlib import Path

import pytest

from rounds.web.pages import NOUNS, PACKAGE, environment

STATIC = PACKAGE / "web" / "static"
VENDOR = STATIC / "vendor"
TEMPLATES = sorted(PACKAGE.glob("*/templates/*.html"))
OURS = sorted([*STATIC.glob("*.css"), *STATIC.glob("*.js"), *STATIC.glob("*.svg")])
FOREIGN = re.compile(r"""(?:src|href|action|url|import|fetch|hx-\w+)\s*[=(]\s*["'`]?\s*(?:https?:)?//""")


def test_vendored_files_have_the_hashes_of_the_lock() -> None:
    lines = [line.split() for line in (VENDOR / "vendor.lock").read_text().splitlines() if line[0] != "#"]
    locked = {name: digest for digest, name in lines}
    present = {path.name for path in VENDOR.iterdir()} - {"vendor.lock"}
    assert present == set(locked)
    for name, digest in locked.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name


@pytest.mark.parametrize("path", [*TEMPLATES, *OURS], ids=lambda path: path.name)
def test_nothing_is_loaded_from_another_host(path: Path) -> None:
    assert not FOREIGN.search(path.read_text())


def test_the_search_for_other_hosts_finds_some() -> None:
    for text in ('<script src="https://x/y.js">', "url(//x/y)", "fetch(`https://x`)", "<a href='//x'>"):
        assert FOREIGN.search(text)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_templates_parse_and_need_no_inline_code(path: Path) -> None:
    text = path.read_text()
    assert path.parts[-3] in NOUNS
    environment().get_template(f"{path.parts[-3]}/{path.name}")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)|javascript:", text)
    assert "|safe" not in text.replace(" ", "")
