"""The keys that pseudonymise: 32 bytes each in a file outside the database, readable by its owner only.

The file has one key a line in hexadecimal: the current one first, which makes everything new, then the retired ones,
newest first, by which patients and series of earlier days are recognised.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from rounds.imaging.pseudonyms import KEY_BYTES, key_id
from rounds.private import make_private, write_private
from rounds.settings import Settings

MAX_KEYS = 100


class KeyUnusable(Exception):
    """The pseudonym key's file cannot be used."""


@dataclass(frozen=True)
class KeyRing:
    """The current key and the retired ones, newest first; its repr has no key."""

    current: bytes = field(repr=False)
    retired: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def keys(self) -> tuple[bytes, ...]:
        """All keys, the current one first."""
        return self.current, *self.retired

    @property
    def ids(self) -> tuple[str, ...]:
        """What the keys are called, in the same order."""
        return tuple(key_id(key) for key in self.keys)


def pseudonym_key(settings: Settings) -> bytes:
    """Return the key that makes everything new; see `key_ring`."""
    return key_ring(settings).current


def key_ring(settings: Settings) -> KeyRing:
    """Read `ROUNDS_PSEUDONYM_KEY_FILE` or `<home>/pseudonym.key`; make it when there is none. Raise KeyUnusable."""
    path = _path(settings)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        make_private(path, _lines([secrets.token_bytes(KEY_BYTES)]))
    try:
        keys = tuple(bytes.fromhex(line) for line in path.read_text().split())
    except (OSError, ValueError) as error:
        raise KeyUnusable("the pseudonym key cannot be read: restore its file from a backup") from error
    wrong = next((len(key) for key in keys if len(key) != KEY_BYTES), None)
    if wrong is not None or not keys:
        raise KeyUnusable(
            f"the pseudonym key has {wrong or 0} bytes instead of {KEY_BYTES}: restore its file"
        )
    if len(set(keys)) < len(keys):
        raise KeyUnusable("a pseudonym key stands twice in its file: restore it from a backup")
    return KeyRing(keys[0], keys[1:])


def renew(settings: Settings, forget: bool = False) -> KeyRing:
    """Put a new key before the others, or in their place if `forget`; the file changes whole or not at all.

    The caller sees to it that nobody takes scans in meanwhile. Raise KeyUnusable where the file cannot be written.
    """
    path = _path(settings)
    before = key_ring(settings)
    kept = () if forget else before.keys
    if len(kept) >= MAX_KEYS:
        raise KeyUnusable(f"there are {len(kept)} keys already: every scan is looked up under each of them")
    renewed = KeyRing(secrets.token_bytes(KEY_BYTES), kept)
    try:
        for stale in path.parent.glob(f".{path.name}.*"):  # of a process that was killed: they hold keys
            stale.unlink(missing_ok=True)
        write_private(path, _lines(renewed.keys))
    except OSError as error:
        raise KeyUnusable(
            "the key file cannot be changed from here: write a new key (openssl rand -hex 32) as its first line by hand"
        ) from error
    return renewed


def _path(settings: Settings) -> Path:
    return settings.pseudonym_key_file or settings.home / "pseudonym.key"


def _lines(keys: Iterable[bytes]) -> str:
    return "".join(f"{key.hex()}\n" for key in keys)
