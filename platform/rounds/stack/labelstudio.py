"""Label Studio under gunicorn on SQLite: its environment, its migrated database, its admin and a short-lived token."""

import base64
import ipaddress
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx

from rounds.private import write_private
from rounds.settings import REPOSITORY
from rounds.stack.health import PartFailed, answer
from rounds.stack.ports import LOOPBACK
from rounds.stack.processes import NO_WAY_OUT, Process, neutral_environment, open_log, spawn
from rounds.stack.state import secret, secret_path

BOOTSTRAP = Path(__file__).with_name("labelstudio_bootstrap.py")
ADMIN_EMAIL = "admin@localhost"
TOKEN_DAYS = 30
DAY = 86_400  # seconds

# Addresses that Label Studio may never be made to call: the reserved networks it bans by itself; of
# 127.0.0.0/8 all but the one address on which the webhook and the object store listen (see `banned_networks`).
RESERVED = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24"
    " 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4"
    " ::/128 ::1/128 ::ffff:0:0/96 ::ffff:0:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 2001::/32 2001:20::/28"
    " 2001:db8::/32 2002::/16 fc00::/7 fe80::/10 ff00::/8"
)
SITE = Path(__file__).parent / "labelstudio_site"


class LabelStudioMissing(Exception):
    """There is no environment that holds Label Studio."""


def installation() -> Path:
    """Return the environment that holds the Label Studio server: it cannot share the platform's."""
    path = Path(os.environ.get("ROUNDS_LABELSTUDIO_ENV", REPOSITORY / ".venv-labelstudio")).absolute()
    if not (path / "bin" / "gunicorn").is_file():
        raise LabelStudioMissing(
            f"no Label Studio in {path}: run `make setup`, or set ROUNDS_LABELSTUDIO_ENV or ROUNDS_LABELSTUDIO_URL"
        )
    return path


def environment(home: Path, url: str) -> dict[str, str]:
    """Return the whole environment of the server: private, on loopback, silent towards its makers."""
    data = home / "labelstudio"
    return neutral_environment(
        {
            "DJANGO_SETTINGS_MODULE": "label_studio.core.settings.label_studio",
            "DJANGO_DB": "sqlite",
            "SECRET_KEY": secret(home, "labelstudio_secret_key", length=32),
            "LABEL_STUDIO_BASE_DATA_DIR": str(data),
            "LABEL_STUDIO_HOST": url,
            "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
            "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "false",
            "LABEL_STUDIO_ENABLE_LOCAL_FILES_STORAGE": "false",
            "CSRF_TRUSTED_ORIGINS": url,
            "SESSION_COOKIE_SECURE": "0",
            "DEBUG": "false",
            "SSRF_PROTECTION_ENABLED": "true",
            "USE_DEFAULT_BANNED_SUBNETS": "false",
            "USER_ADDITIONAL_BANNED_SUBNETS": ",".join(banned_networks()),
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
            "COLLECT_ANALYTICS": "false",
            "LATEST_VERSION_CHECK": "false",
            "DO_NOT_TRACK": "1",
            **NO_WAY_OUT,
            "XDG_CONFIG_HOME": str(data / "config"),
            "XDG_DATA_HOME": str(data / "data"),
            "XDG_CACHE_HOME": str(data / "cache"),
        }
    )


def banned_networks() -> list[str]:
    """Return every reserved network, with 127.0.0.1 alone cut out of it."""
    around = ipaddress.IPv4Network("127.0.0.0/8").address_exclude(ipaddress.IPv4Network(f"{LOOPBACK}/32"))
    return RESERVED.split() + [str(network) for network in around]


def start(home: Path, port: int, log: Path) -> Process:
    """Migrate and see to the admin and the token where that is due, and start the server."""
    url = f"http://{LOOPBACK}:{port}"
    env = environment(home, url)
    place = installation()
    if token_is_due(home) or not _is_prepared(home, place):
        _bootstrap(home, place, env, log)
    (home / "labelstudio" / "cache").mkdir(mode=0o700, exist_ok=True)
    site = next((place / "lib").glob("python3.*")) / "site-packages" / "label_studio"
    command: list[str | Path] = [
        place / "bin" / "python", "-I", "-m", "gunicorn", "rounds_labelstudio:application",
        "--pythonpath", f"{site},{SITE}", "--bind", f"{LOOPBACK}:{port}", "--workers", "2", "--threads", "4",
        "--worker-class", "gthread", "--timeout", "120", "--graceful-timeout", "5", "--no-control-socket",
        "--log-level", "warning",
    ]  # fmt: skip
    return spawn(command, log=log, env=env, cwd=home / "labelstudio")


def probe(url: str) -> str:
    """Return the version of the Label Studio at `url`."""
    return str(answer(f"{url}/api/version/", timeout=10.0).json()["release"])


def token(home: Path) -> str:
    """Return the admin's personal access token that `start` left."""
    return secret_path(home, "labelstudio_token").read_text().strip()


def token_is_due(home: Path) -> bool:
    """Tell whether the token is missing or past half of its life."""
    path = secret_path(home, "labelstudio_token")
    return not path.is_file() or expires_at(path.read_text()) - time.time() < TOKEN_DAYS * DAY / 2


def renew_token(home: Path, url: str, log: Path) -> None:
    """Issue a new token beside a running server; the old one stays good until its own end."""
    _bootstrap(home, installation(), environment(home, url), log)


def expires_at(jwt: str) -> float:
    """Return when a token ends, in seconds since the epoch."""
    payload = jwt.strip().split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return float(claims["exp"])


def accepts_token(url: str, refresh: str) -> bool:
    """Tell whether the server at `url` exchanges this token for an access token."""
    with httpx.Client(trust_env=False, timeout=10.0) as client:
        return client.post(f"{url}/api/token/refresh", json={"refresh": refresh}).is_success


def _bootstrap(home: Path, place: Path, env: dict[str, str], log: Path) -> None:
    (home / "labelstudio").mkdir(mode=0o700, exist_ok=True)
    wanted = {"email": ADMIN_EMAIL, "password": password(home), "token_days": TOKEN_DAYS}
    with open_log(log) as errors:
        result = subprocess.run(
            [place / "bin" / "python", "-I", BOOTSTRAP, "--state-folder"],
            input=json.dumps(wanted).encode(),
            stdout=subprocess.PIPE,
            stderr=errors,
            env=env,
            umask=0o077,
            check=False,
        )
    if result.returncode != 0:
        raise PartFailed(f"labelstudio could not be prepared: see {log}")
    issued = json.loads(result.stdout.decode().strip().splitlines()[-1])
    write_private(secret_path(home, "labelstudio_token"), issued["token"] + "\n")
    write_private(home / "labelstudio" / "prepared", _release(place))


def _is_prepared(home: Path, place: Path) -> bool:
    """Tell whether the database was last migrated by the release that is installed now."""
    marker = home / "labelstudio" / "prepared"
    return marker.is_file() and marker.read_text() == _release(place)


def _release(place: Path) -> str:
    return next(place.glob("lib/python3.*/site-packages/label_studio-*.dist-info")).name


def password(home: Path) -> str:
    """Return the admin's password, kept in `<home>/secrets/labelstudio_password`."""
    return secret(home, "labelstudio_password", length=12)
