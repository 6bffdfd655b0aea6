"""The embedded stack on its real parts: killed, restarted, shared, refused, and silent to the outside."""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import psycopg
import pytest

from rounds.db import connect
from rounds.objects import NotStored, ObjectStore
from rounds.settings import Settings, load_settings
from rounds.stack import PartFailed, down, labelstudio, status, up
from rounds.stack.labelstudio import ADMIN_EMAIL
from rounds.stack.processes import Process, alive, descendants, workers_in
from rounds.stack.state import prepare_home, read_state

pytestmark = pytest.mark.stack
PNG = b"\x89PNG\r\n\x1a\n" + b"a slice"


def processes(home: Path) -> dict[str, Process]:
    parts = read_state(home).parts
    return {name: part.process for name, part in parts.items() if part.process is not None}


def living(home: Path) -> list[int]:
    """Every process that works for the stack in `home`."""
    found = {pid for process in processes(home).values() for pid in descendants(process)}
    return sorted(found | set(workers_in(home / "database")))


@pytest.fixture
def second(stack: Settings, tmp_path: Path) -> Iterator[Settings]:
    """A second installation that starts a database alone and uses the other parts where they are."""
    settings = stack.model_copy(update={"home": tmp_path / "second", "database_url": None})
    yield settings
    down(settings)


def test_every_part_is_up_and_a_second_up_changes_nothing(stack: Settings) -> None:
    before = processes(stack.home)
    told = up(load_settings())
    assert processes(stack.home) == before
    assert len(before) == 6
    answers = status(load_settings())
    assert all(answer.up and answer.version and answer.url for answer in answers.values())
    assert {name: part["version"] for name, part in told["parts"].items()} == {
        name: answer.version for name, answer in answers.items()
    }


def test_killed_parts_show_as_down_and_come_back_with_nothing_lost(stack: Settings) -> None:
    ref = ObjectStore.from_settings(stack).put(PNG, ".png")
    with connect(stack) as conn:
        conn.execute("CREATE TABLE kept_over_a_kill AS SELECT 7 AS n")
    killed = processes(stack.home)
    for process in killed.values():
        os.kill(process.pid, signal.SIGKILL)
    until = time.monotonic() + 10
    while any(alive(process) for process in killed.values()) and time.monotonic() < until:
        time.sleep(0.01)  # a signal is sent, not yet delivered, when `kill` returns
    assert not any(answer.up for answer in status(load_settings()).values())
    up(load_settings())
    assert all(answer.up for answer in status(load_settings()).values())
    assert not any(alive(process) or descendants(process) for process in killed.values())
    assert load_settings() == stack, "the ports and secrets are the same as before"
    assert ObjectStore.from_settings(stack).get(ref) == PNG
    with connect(stack) as conn:
        assert conn.execute("SELECT n FROM kept_over_a_kill").fetchall() == [{"n": 7}]
        conn.execute("DROP TABLE kept_over_a_kill")


def test_the_state_folder_and_its_secrets_are_private(stack: Settings) -> None:
    assert stack.home.stat().st_mode & 0o777 == 0o700
    for path in [
        stack.home / "stack.json",
        *(stack.home / "secrets").iterdir(),
        *(stack.home / "logs").iterdir(),
    ]:
        assert path.stat().st_mode & 0o077 == 0, path.name


def test_no_secret_is_on_a_command_line(stack: Settings) -> None:
    secrets = [path.read_bytes().strip() for path in (stack.home / "secrets").iterdir()]
    for pid in living(stack.home):
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert not any(secret in line for secret in secrets)


def test_nothing_listens_beyond_this_machine(stack: Settings) -> None:
    listening = {inode: address for table in ("tcp", "tcp6") for inode, address in listeners(table)}
    found = []
    for pid in living(stack.home):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            inode = os.readlink(descriptor).removeprefix("socket:[").removesuffix("]")
            found += [listening[inode]] if inode in listening else []
    assert len(set(found)) == 1, "all on one address"
    assert set(found) == {"0100007F"}, "which is 127.0.0.1"


def listeners(table: str) -> list[tuple[str, str]]:
    rows = [line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    return [(row[9], row[1].partition(":")[0]) for row in rows if row[3] == "0A"]


def test_given_addresses_are_used_and_a_taken_port_is_passed_over(stack: Settings, second: Settings) -> None:
    told = up(second)
    state = read_state(second.home)
    assert [name for name, part in state.parts.items() if part.started_by_us] == ["database"]
    assert state.parts["database"].port != read_state(stack.home).parts["database"].port
    assert told["parts"]["labelstudio"]["url"] == stack.labelstudio_url
    assert told["logins"] == {}, "whoever runs that Label Studio knows how to log in"
    assert all(answer.up for answer in status(second).values())


def test_down_leaves_no_process_of_its_own_and_every_other(stack: Settings, second: Settings) -> None:
    up(second)
    mine = processes(second.home)["database"]
    down(second)
    assert not alive(mine)
    assert living(second.home) == []
    assert not status(second)["database"].up
    assert all(answer.up for answer in status(load_settings()).values())


def test_a_database_comes_back_on_its_port_after_down(second: Settings) -> None:
    up(second)
    port = read_state(second.home).parts["database"].port
    with psycopg.connect(read_state(second.home).settings["database_url"]) as conn:
        conn.execute("CREATE TABLE kept AS SELECT 1 AS n")
    down(second)
    up(second)
    assert read_state(second.home).parts["database"].port == port
    with psycopg.connect(read_state(second.home).settings["database_url"]) as conn:
        assert conn.execute("SELECT n FROM kept").fetchall() == [(1,)]


def test_an_address_where_nothing_answers_is_named(second: Settings) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(PartFailed, match="ROUNDS_DATABASE_URL"):
        up(second.model_copy(update={"database_url": f"postgresql://u:hidden@127.0.0.1:{port}/x"}))


def test_a_page_of_another_origin_may_load_a_presigned_slice(stack: Settings) -> None:
    store = ObjectStore.from_settings(stack)
    url = store.presign(store.put(PNG, ".png"), timedelta(days=7))
    origin = {"Origin": str(stack.labelstudio_url)}
    asked = httpx.options(url, headers={**origin, "Access-Control-Request-Method": "GET"})
    loaded = httpx.get(url, headers=origin)
    assert asked.is_success
    assert loaded.headers["content-type"] == "image/png"
    assert loaded.content == PNG
    assert loaded.headers["access-control-allow-origin"] in {"*", stack.labelstudio_url}
    assert httpx.get(url.partition("?")[0]).is_client_error, "without the signature nothing is given away"
    assert (
        httpx.get(url.replace("X-Amz-Signature=", "X-Amz-Signature=0")).status_code == httpx.codes.FORBIDDEN
    )


def test_a_file_is_stored_as_its_bytes_are_and_a_refusal_says_what_to_look_at(
    stack: Settings, tmp_path: Path
) -> None:
    store = ObjectStore.from_settings(stack)
    data = os.urandom(3 * 2**20 + 7)
    with (tmp_path / "scan.zip").open("w+b") as file:
        file.write(data)
        ref = store.put_file(file, ".zip")
        assert store.put_file(file, ".zip") == ref == store.put(data, ".zip")
    assert store.get(ref) == data
    for wrong in ({"s3_bucket": "no-such-bucket"}, {"s3_secret_key": "wrong"}):
        with pytest.raises(NotStored, match="rounds status"):
            ObjectStore.from_settings(stack.model_copy(update=wrong)).put(PNG + b"refused", ".png")


def test_postgres_asks_for_the_password(stack: Settings) -> None:
    url = stack.require("database_url")
    password = (stack.home / "secrets" / "database_password").read_text().strip()
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(url.replace(password, "wrong"), connect_timeout=5)
    with connect(stack) as conn:
        row = conn.execute("SELECT current_setting('fsync') AS fsync").fetchone()
    assert row == {"fsync": "on"}


@pytest.fixture
def browser(stack: Settings) -> Iterator[httpx.Client]:
    """A client that logged in to Label Studio as the admin through its page."""
    with httpx.Client(base_url=str(stack.labelstudio_url), follow_redirects=True, timeout=30) as client:
        page = client.get("/user/login/").text
        form = {
            "email": ADMIN_EMAIL,
            "password": (stack.home / "secrets" / "labelstudio_password").read_text().strip(),
            "csrfmiddlewaretoken": re.findall(r'csrfmiddlewaretoken" value="([^"]+)"', page)[0],
        }
        client.post("/user/login/", data=form, headers={"Referer": str(stack.labelstudio_url)})
        yield client


def test_the_admin_logs_in_and_pages_load_from_no_other_host(stack: Settings, browser: httpx.Client) -> None:
    assert browser.get("/api/current-user/whoami").json()["email"] == ADMIN_EMAIL
    for page in (httpx.get(f"{stack.labelstudio_url}/user/login/").text, browser.get("/projects/").text):
        loaded = re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"']?(https?://[^/\"' >]+)", page)
        assert set(loaded) <= {str(stack.labelstudio_url)}
        assert re.findall(r"collect_analytics *[=:] *(\w+)", page) == ["false"]


def test_label_studio_takes_its_token_and_calls_loopback_only(stack: Settings) -> None:
    url = str(stack.labelstudio_url)
    access = httpx.post(f"{url}/api/token/refresh", json={"refresh": stack.labelstudio_token}).json()[
        "access"
    ]
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {access}"}, timeout=30) as client:
        assert client.get("/api/jwt/settings").json() == {
            "api_tokens_enabled": True,
            "legacy_api_tokens_enabled": False,
        }
        hook = {"send_payload": False, "send_for_all_actions": False, "actions": []}
        refused = client.post("/api/webhooks/", json={**hook, "url": "http://169.254.169.254/"})
        assert "reserved network address" in refused.text
        passed = client.post("/api/webhooks/", json={**hook, "url": f"{stack.service_url}/hook"})
        assert "reserved network address" not in passed.text


def test_a_container_of_label_studio_makes_its_admin_and_prints_a_token(
    stack: Settings, tmp_path: Path
) -> None:
    place = labelstudio.installation()
    (tmp_path / "labelstudio").mkdir()
    (blank,) = (place / "share" / "rounds").glob("label_studio-*.sqlite3")
    shutil.copy(blank, tmp_path / "labelstudio" / "label_studio.sqlite3")
    prepare_home(tmp_path)
    env = labelstudio.environment(tmp_path, "http://127.0.0.1:1") | {
        "LABELSTUDIO_ADMIN_EMAIL": "head@hospital.example",
        "LABELSTUDIO_ADMIN_PASSWORD": secrets.token_hex(12),
    }

    def run(*arguments: str) -> str:
        command: list[str | Path] = [place / "bin" / "python", "-I", labelstudio.BOOTSTRAP, *arguments]
        return subprocess.check_output(command, env=env, stderr=subprocess.DEVNULL).decode()

    assert run() == ""
    lasts = labelstudio.expires_at(run("token", "300")) - time.time()
    assert timedelta(days=299) < timedelta(seconds=lasts) <= timedelta(days=300)
    with pytest.raises(subprocess.CalledProcessError):
        run("tokens")


def test_nobody_signs_up_to_label_studio_without_an_invitation(stack: Settings) -> None:
    with httpx.Client(base_url=str(stack.labelstudio_url), timeout=30) as client:
        page = client.get("/user/signup/").text
        form = {"email": "stranger@rounds.example", "password": "a-long-password"}
        form["csrfmiddlewaretoken"] = re.findall(r'csrfmiddlewaretoken" value="([^"]+)"', page)[0]
        refused = client.post("/user/signup/", data=form, headers={"Referer": str(stack.labelstudio_url)})
        assert refused.status_code == httpx.codes.FORBIDDEN


def test_prefect_knows_the_deployments_schedules_them_and_sends_nothing_home(stack: Settings) -> None:
    api = stack.require("prefect_api_url")
    known = {row["name"]: row for row in httpx.post(f"{api}/deployments/filter", json={}).json()}
    assert {"ingest", "quarantine", "batch", "sync", "train", "prelabel", "sweep"} == set(known)
    assert all(row["entrypoint"] == f"rounds_flows.{name}.{name}" for name, row in known.items())
    assert {name for name, row in known.items() if row["schedules"]} == {"sync", "sweep"}
    server = httpx.get(f"{api}/admin/settings").json()["server"]
    assert server["analytics_enabled"] is False
    assert server["ui"]["show_promotional_content"] is False
    assert httpx.get(api.removesuffix("/api"), follow_redirects=True).is_success, "the pages work"
