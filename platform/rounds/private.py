"""Files that their owner alone may read: whole or not at all, and on the disk before anybody relies on them."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Replace a 0600 file in one step: a reader sees the old content or the new, never a part of it."""
    with _draft(path, text) as draft:
        os.replace(draft, path)


def make_private(path: Path, text: str) -> None:
    """Make a 0600 file unless there is one: of several processes at once one alone does."""
    with _draft(path, text) as draft, suppress(FileExistsError):
        os.link(draft, path)


def sync(path: Path) -> None:
    """Bring a file's content or a folder's names to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _draft(path: Path, text: str) -> Iterator[Path]:
    """Lend a file beside `path` with this content; it is gone afterwards, unless it was given its name."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)
    sync(path.parent)
