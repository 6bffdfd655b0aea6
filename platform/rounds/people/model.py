"""The people of a round and the roles they play."""

import hashlib
import secrets
from dataclasses import dataclass
from enum import StrEnum

SCRYPT = {"n": 2**14, "r": 8, "p": 1}


class Role(StrEnum):
    """What a person may do."""

    ANNOTATOR = "annotator"  # Group A
    CHECKER = "checker"  # Group B
    SENIOR = "senior"
    QA = "qa"
    ENGINEER = "engineer"
    ADMIN = "admin"
    SENDER = "sender"  # a machine that stores scans over HTTP, and may do nothing else


class NotAllowed(Exception):
    """The person's role does not include this."""


@dataclass(frozen=True)
class Person:
    """Somebody who logs in."""

    id: int
    email: str
    name: str
    roles: tuple[Role, ...]
    labelstudio_user: int | None = None

    @property
    def actor(self) -> str:
        """How the trail names this person."""
        return f"person:{self.id}"

    def require(self, role: Role) -> None:
        """Raise NotAllowed unless the person has `role`."""
        if role not in self.roles:
            raise NotAllowed(f"this needs the role {role}; {self.email} has {', '.join(self.roles)}")


def hash_password(password: str) -> str:
    """Return salt and scrypt digest (RFC 7914), as hex joined by a dollar sign."""
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}${_digest(password, salt).hex()}"


def password_matches(password: str, stored: str) -> bool:
    """Compare in constant time."""
    salt, digest = (bytes.fromhex(part) for part in stored.split("$"))
    return secrets.compare_digest(_digest(password, salt), digest)


def token_sha256(token: str) -> str:
    """Return what is stored of a bearer token."""
    return hashlib.sha256(token.encode()).hexdigest()


def _digest(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, **SCRYPT)
