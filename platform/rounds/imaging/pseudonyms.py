"""What replaces identities: patients, UIDs and dates derived from a secret key, so that they agree across runs."""

import base64
import hashlib
import hmac
from datetime import date, timedelta

KEY_BYTES = 32
MAX_SHIFT_DAYS = 3652
"""Dates move into the past by 1 to 3652 whole days (ten years), the same number for all dates of a patient."""


class WeakKey(Exception):
    """The de-identification key is not 32 bytes long."""


def pseudonym(key: bytes, site: str, patient_id: str) -> str:
    """Return a patient's pseudonym, "P" and 12 base-32 characters (60 bits); the same for the same site and id."""
    return "P" + base64.b32encode(_digest(key, "patient", site, patient_id.strip())).decode("ascii")[:12]


def key_id(key: bytes) -> str:
    """Return what a key is called, 8 hexadecimal digits that tell nothing else about it."""
    return _digest(key, "key id").hex()[:8]


def series_key(key: bytes, series_uid: str) -> str:
    """Return the hexadecimal digest that identifies a series without telling its UID."""
    return _digest(key, "series", series_uid.strip()).hex()


def remap_uid(key: bytes, uid: str) -> str:
    """Return the UID that stands for `uid` everywhere: a valid 2.25.<UUID as decimal>, even if `uid` is not one."""
    raw = bytearray(_digest(key, "uid", uid.strip(" \0"))[:16])
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return f"2.25.{int.from_bytes(raw, 'big')}"


def date_shift(key: bytes, site: str, patient_id: str) -> timedelta:
    """Return by how much the dates of a patient move: -1 to -3652 whole days."""
    number = int.from_bytes(_digest(key, "days", site, patient_id.strip())[:8], "big")
    return -timedelta(days=1 + number % MAX_SHIFT_DAYS)


def shift_date(text: str, shift: timedelta) -> str:
    """Return a DICOM date YYYYMMDD moved by `shift`, or an empty text if it is not a date."""
    text = text.strip(" \0")
    if len(text) != 8 or not text.isascii() or not text.isdigit():
        return ""
    try:
        moved = date(int(text[:4]), int(text[4:6]), int(text[6:])) + shift
    except (ValueError, OverflowError):
        return ""
    return f"{moved.year:04d}{moved.month:02d}{moved.day:02d}"


def _digest(key: bytes, purpose: str, *parts: str) -> bytes:
    """Compute HMAC-SHA-256 over unambiguously joined parts."""
    if len(key) != KEY_BYTES:
        raise WeakKey(f"the de-identification key has {len(key)} bytes, {KEY_BYTES} are needed")
    message = b"".join(_framed(part) for part in (purpose, *parts))
    return hmac.new(key, message, hashlib.sha256).digest()


def _framed(part: str) -> bytes:
    data = part.encode("utf-8", "surrogateescape")
    return len(data).to_bytes(4, "big") + data
