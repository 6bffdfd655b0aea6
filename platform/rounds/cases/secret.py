"""The key that pseudonymises: 32 bytes outside the database, made once, readable by its owner only."""

import os
import secrets
from pathlib import Path

from rounds.imaging.pseudonyms import KEY_BYTES
from rounds.settings import Settings


class KeyUnusable(Exception):
    """The pseudonym key's file cannot be used."""


def pseudonym_key(settings: Settings) -> bytes:
    """Read the key from `ROUNDS_PSEUDONYM_KEY_FILE` or `<home>/pseudonym.key`; make it when there is none."""
    path = settings.pseudonym_key_file or settings.home / "pseudonym.key"
    if not path.exists():
        _make(path)
    try:
        key = bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError) as error:
        raise KeyUnusable("the pseudonym key cannot be read: restore its file from a backup") from error
    if len(key) != KEY_BYTES:
        raise KeyUnusable(f"the pseudonym key has {len(key)} bytes instead of {KEY_BYTES}: restore its file")
    return key


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(KEY_BYTES))
    try:
        os.link(draft, path)  # fails if another process was first: one key only
    except FileExistsError:
        pass
    finally:
        draft.unlink()
