"""What is kept of quarantined scans outside the database: original names, and the files that a release needs.

Each scan has `<home>/quarantine/<number>/`, 0700, with `names.json` and, where a release is possible, a private copy of
the whole series under `files/`, numbered, 0600. Both are identified data and go when the scan is dealt with.
"""

import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SPARE_BYTES = 2 * 2**30
"""No copy is made that would leave less room than this on the disk of `<home>`."""


@dataclass(frozen=True)
class Kept:
    """Original names of the refused files, and the private copy by original name (empty: there is none)."""

    names: tuple[str, ...]
    copies: Mapping[Path, str]


def keep(
    home: Path,
    number: int,
    refused: Sequence[Path],
    needed: Sequence[Path],
    named: Callable[[Path], str] = str,
) -> None:
    """Keep the names of the refused files and a copy of the needed ones; nothing happens where that is done.

    The copy appears whole or not at all. Without room for it the names are kept alone.
    """
    known = look(home, number)
    if known is not None and len(known.names) >= len(refused) and (known.copies or not needed):
        return
    folder = _folder(home, number)
    draft = folder.with_name(f".{number}.{secrets.token_hex(4)}")
    draft.mkdir(parents=True, mode=0o700)
    folder.parent.chmod(0o700)
    try:
        if needed and not _copied(home, needed, draft / "files"):
            shutil.rmtree(draft / "files", ignore_errors=True)
        names = {"refused": [named(path) for path in refused], "copied": [named(path) for path in needed]}
        _write(draft / "names.json", names)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def look(home: Path, number: int) -> Kept | None:
    """Return what is kept of a scan, or None."""
    folder = _folder(home, number)
    try:
        names = json.loads((folder / "names.json").read_text())
    except FileNotFoundError:
        return None
    copies = sorted((folder / "files").glob("*.dcm"))
    return Kept(tuple(names["refused"]), dict(zip(copies, names["copied"], strict=False)))


def forget(home: Path, number: int) -> None:
    """Remove everything that is kept of a scan."""
    shutil.rmtree(_folder(home, number), ignore_errors=True)


def sweep(home: Path) -> None:
    """Remove copies that a crash left half made, an hour after it."""
    for draft in (home / "quarantine").glob(".*"):
        if draft.stat().st_mtime < time.time() - 3600:
            shutil.rmtree(draft, ignore_errors=True)


def _copied(home: Path, files: Sequence[Path], folder: Path) -> bool:
    """Copy files into a new folder, by a second link where they are ours already; tell whether that worked."""
    folder.mkdir(mode=0o700)
    own = tuple((home / name).resolve() for name in ("scratch", "quarantine", "inbox"))
    try:
        foreign = [path for path in files if not _within(path, own)]
        if sum(path.stat().st_size for path in foreign) + SPARE_BYTES > shutil.disk_usage(home).free:
            return False
        for index, path in enumerate(files):
            target = folder / f"{index:06d}.dcm"
            if _within(path, own):
                os.link(path.resolve(), target)
            else:
                _copy(path, target)
    except OSError:
        return False
    return True


def _within(path: Path, folders: Sequence[Path]) -> bool:
    found = path.resolve()
    return any(found.is_relative_to(folder) for folder in folders)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, os.fdopen(_create(target), "wb") as write:
        shutil.copyfileobj(read, write, 2**20)


def _write(path: Path, data: object) -> None:
    with os.fdopen(_create(path), "w") as file:
        json.dump(data, file)


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def _folder(home: Path, number: int) -> Path:
    return home / "quarantine" / str(int(number))
