"""The house's own rules, over what is in the repository: where modules lie, how long they are, what they may load."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("platform", "flows", "models")
MAX_FILE, MAX_FUNCTION = 500, 50
VAGUE = {"utils", "util", "helpers", "helper", "manager", "managers", "base", "common", "misc"}


@cache
def tracked() -> tuple[Path, ...]:
    """Return the files in git, and those about to be, relative to the root; vendored ones left out."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return tuple(
        p for p in map(Path, sorted(set(listed))) if "vendor" not in p.parts and (ROOT / p).is_file()
    )


def modules() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py"]


def product_modules() -> list[Path]:
    return [path for path in modules() if path.parts[0] in SOURCE_ROOTS]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(), str(path))


def test_the_rules_see_the_house() -> None:
    seen = {path.as_posix() for path in tracked()}
    assert {"platform/rounds/labels/model.py", "Makefile", "tests/unit/test_house.py"} <= seen
    assert len(product_modules()) > 50


@pytest.mark.parametrize("folder", SOURCE_ROOTS)
def test_source_roots_hold_packages_only(folder: str) -> None:
    loose = [path.name for path in (ROOT / folder).iterdir() if path.suffix == ".py"]
    assert loose == []
    assert any((path / "__init__.py").exists() for path in (ROOT / folder).iterdir() if path.is_dir())


def test_platform_is_the_standard_librarys() -> None:
    code = "import platform, sysconfig; print(platform.__file__); print(sysconfig.get_path('stdlib'))"
    found, library = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert Path(found).parent == Path(library)


# What a page, a style sheet or a script can load from elsewhere. Namespaces (xmlns) are names, not addresses.
ELSEWHERE = re.compile(
    r"""(?:\b(?:src|srcset|href|action|poster|data|hx-\w+)\s*=\s*["']?\s*(?:https?:)?//)"""
    r"""|(?:url\(\s*["']?\s*(?:https?:)?//)"""
    r"""|(?:@import\s+["'](?:https?:)?//)"""
    r"""|(?:\b(?:import|from)\b\s*\(?\s*["'`](?:https?:)?//)"""
    r"""|(?:\b(?:fetch|Worker|EventSource|WebSocket|importScripts|XMLHttpRequest|open)\(\s*["'`](?:https?:|wss?:)?//)""",
    re.IGNORECASE,
)


def pages() -> list[Path]:
    return [
        path
        for path in tracked()
        if path.parts[0] in SOURCE_ROOTS and path.suffix in {".html", ".css", ".js", ".mjs", ".svg"}
    ]


def test_no_page_loads_anything_from_another_host() -> None:
    assert len(pages()) > 10
    found = [
        f"{path}:{number}"
        for path in pages()
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1)
        if ELSEWHERE.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        '<script src="https://cdn.example.org/x.js"></script>',
        "<link rel=stylesheet href=//fonts.example.org/x.css>",
        "background: url( 'http://example.org/x.png')",
        '@import "//example.org/x.css";',
        'import {x} from "https://example.org/x.js";',
        'const x = await import("https://example.org/x.js");',
        'fetch("https://example.org/data")',
        'new WebSocket("wss://example.org")',
    ],
)
def test_rule_finds_what_is_loaded_from_elsewhere(line: str) -> None:
    assert ELSEWHERE.search(line)


@pytest.mark.parametrize(
    "line",
    [
        '<svg xmlns="http://www.w3.org/2000/svg">',
        '<script src="/static/viewer.js"></script>',
        "// https://example.org says how",
        'fetch("/api/labels")',
    ],
)
def test_rule_leaves_what_is_ours_alone(line: str) -> None:
    assert not ELSEWHERE.search(line)


def test_no_file_is_too_long() -> None:
    lengths = {
        path.as_posix(): len((ROOT / path).read_text().splitlines())
        for path in tracked()
        if path.suffix in {".py", ".js", ".html", ".sql", ".css"}
    }
    assert {path: length for path, length in lengths.items() if length > MAX_FILE} == {}


def functions() -> Iterator[tuple[str, int]]:
    for path in modules():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path}:{node.lineno} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_function_is_too_long() -> None:
    assert [name for name, length in functions() if length > MAX_FUNCTION] == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    vague = [
        path.as_posix() for path in modules() if VAGUE & {part.removesuffix(".py") for part in path.parts}
    ]
    assert vague == []


def test_every_module_says_what_it_knows() -> None:
    silent = [
        path.as_posix() for path in modules() if tree(path).body and ast.get_docstring(tree(path)) is None
    ]
    assert silent == []


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
    return found


def test_the_domain_imports_the_standard_library_and_itself_only() -> None:
    nouns = [p for p in product_modules() if p.name == "model.py" and p.parts[:2] == ("platform", "rounds")]
    assert len(nouns) >= 9
    strangers = {
        f"{path}: {name}"
        for path in nouns
        for name in imported(path)
        if name.partition(".")[0] not in sys.stdlib_module_names
        and not re.fullmatch(r"rounds\.\w+\.model", name)
    }
    assert strangers == set()


def test_make_help_lists_every_target() -> None:
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = {line.split()[0]: line.split(maxsplit=1)[1:] for line in told.splitlines()}
    assert set(phony[1].split()) <= set(listed)
    assert {"help", "setup", "demo", "test", "lint", "bench"} <= set(listed)
    assert all(listed.values()), "a target without a word on what it does"
