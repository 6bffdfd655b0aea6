"""Label Studio's environment: quiet, private, and able to call 127.0.0.1 alone."""

import base64
import ipaddress
import json
import time
from pathlib import Path

import pytest

from rounds.private import write_private
from rounds.stack import labelstudio
from rounds.stack.state import prepare_home


def token(expires: float) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256"}, {"exp": expires})]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + ".signature"


@pytest.mark.parametrize(
    "address", ["127.0.0.2", "10.1.2.3", "169.254.169.254", "192.168.0.1", "::1", "fd00::1"]
)
def test_reserved_addresses_stay_banned(address: str) -> None:
    assert is_banned(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "93.184.216.34"])
def test_this_machines_loopback_address_is_open(address: str) -> None:
    assert not is_banned(address)


def is_banned(address: str) -> bool:
    networks = map(ipaddress.ip_network, labelstudio.banned_networks())
    return any(ipaddress.ip_address(address) in network for network in networks)


def test_the_environment_is_quiet_and_its_key_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTRY_DSN", "https://key@sentry.example/1")
    prepare_home(tmp_path)
    env = labelstudio.environment(tmp_path, "http://127.0.0.1:8080")
    assert env["SENTRY_DSN"] == env["FRONTEND_SENTRY_DSN"] == ""
    assert env["COLLECT_ANALYTICS"] == env["LATEST_VERSION_CHECK"] == "false"
    assert env["SSRF_PROTECTION_ENABLED"] == "true"
    assert env["SECRET_KEY"] == labelstudio.environment(tmp_path, "http://127.0.0.1:8081")["SECRET_KEY"]


def test_a_token_is_renewed_in_the_second_half_of_its_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000_000_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    prepare_home(tmp_path)
    path = tmp_path / "secrets" / "labelstudio_token"
    assert labelstudio.token_is_due(tmp_path)
    write_private(path, token(now + 16 * labelstudio.DAY))
    assert not labelstudio.token_is_due(tmp_path)
    write_private(path, token(now + 14 * labelstudio.DAY))
    assert labelstudio.token_is_due(tmp_path)


def test_a_missing_installation_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUNDS_LABELSTUDIO_ENV", str(tmp_path))
    with pytest.raises(labelstudio.LabelStudioMissing, match="make setup"):
        labelstudio.installation()
