"""What can be known of the production files without a container engine: they parse and agree with the code."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from rounds.inbox.counting import check
from rounds.inbox.model import senders_of
from rounds.inbox.settings import Receiving, load_receiving
from rounds.settings import Settings
from rounds.stack.prefect import ONE_THREAD
from rounds_flows.deployments import DEPLOYMENTS, POOL

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
COMPOSE: dict[str, Any] = yaml.safe_load((INFRA / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SETTINGS = {f"ROUNDS_{name.upper()}" for name in Settings.model_fields}
RECEIVE = {f"ROUNDS_RECEIVE_{name.upper()}" for name in Receiving.model_fields}
ONE_SHOT = {name for name, service in SERVICES.items() if service.get("restart") == "no"}
RUN_ROUNDS = ("prepare", "worker", "service", "receiver", "operator")
VARIABLE = re.compile(r"\$\{([A-Z_0-9]+)([^}]*)\}")
# Variables of the production files that start with ROUNDS_ and are no settings of the platform.
NOT_SETTINGS = {"ROUNDS_VERSION", "ROUNDS_DATABASE_PASSWORD"}


def manifests() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in sorted((INFRA / "k8s").glob("*.yaml")):
        found += [one for one in yaml.safe_load_all(path.read_text()) if one]
    return found


def of_kind(*kinds: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in manifests() if one["kind"] in kinds}


def pods() -> dict[str, dict[str, Any]]:
    workloads = of_kind("Deployment", "StatefulSet", "Job")
    return {name: one["spec"]["template"]["spec"] for name, one in workloads.items()}


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, pod in pods().items():
        for container in pod["containers"]:
            yield name, container


def env_file() -> dict[str, str]:
    lines = (INFRA / "env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_every_part_is_there() -> None:
    assert set(SERVICES) >= {"database", "objects", "labelstudio", "prefect", "worker", "service", "proxy"}
    assert set(pods()) >= {"database", "objects", "labelstudio", "prefect", "worker", "service"}


def test_every_service_that_stays_up_has_a_healthcheck() -> None:
    lacking = {name for name, service in SERVICES.items() if "healthcheck" not in service}
    assert lacking == ONE_SHOT == {"objects-setup", "prepare", "operator"}
    jobs = of_kind("Job")
    probed = {name for name, one in containers() if {"readinessProbe", "livenessProbe"} <= set(one)}
    assert probed == set(pods()) - set(jobs)


def test_whoever_waits_waits_for_something_that_can_happen() -> None:
    for name, service in SERVICES.items():
        for other, condition in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
            assert condition == {"condition": wanted}, f"{name} waits for {other}"


def test_only_the_proxy_and_a_receiver_are_published_and_only_they_have_a_way_out() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"proxy", "receiver"}
    assert SERVICES["proxy"]["ports"] == ["443:443"]
    assert COMPOSE["networks"]["inside"]["internal"] is True
    open_to = {name for name, service in SERVICES.items() if set(service["networks"]) - {"inside"}}
    assert open_to == {"proxy", "receiver"}
    published = {
        name: one["spec"]
        for name, one in of_kind("Service").items()
        if one["spec"].get("type", "ClusterIP") != "ClusterIP"
    }
    assert set(published) == {"receiver"}
    assert published["receiver"]["loadBalancerSourceRanges"]


def test_a_receiver_runs_only_where_it_is_asked_for() -> None:
    assert SERVICES["receiver"]["profiles"] == ["receiver"]
    assert of_kind("Deployment")["receiver"]["spec"]["replicas"] == 0


def test_a_receiver_listens_where_it_is_published_and_shares_the_inbox_with_the_worker() -> None:
    given = SERVICES["receiver"]["environment"]
    container = dict(containers())["receiver"]
    own = {one["name"]: one.get("value") for one in container["env"]}
    (address, outer, inner) = SERVICES["receiver"]["ports"][0].rsplit(":", 2)
    assert address == "${RECEIVER_ADDRESS:?}"
    assert outer == inner == given["ROUNDS_RECEIVE_PORT"] == own["ROUNDS_RECEIVE_PORT"]
    assert f"'127.0.0.1', {inner}" in SERVICES["receiver"]["healthcheck"]["test"][-1]
    assert of_kind("Service")["receiver"]["spec"]["ports"] == [{"port": int(inner)}]
    assert container["ports"] == [{"containerPort": int(inner)}]
    assert given["ROUNDS_RECEIVE_HOST"] == own["ROUNDS_RECEIVE_HOST"] == "0.0.0.0"  # noqa: S104
    home = f"home:{given['ROUNDS_HOME']}"
    assert home in SERVICES["receiver"]["volumes"]
    assert home in SERVICES["worker"]["volumes"]
    homes = [
        volume
        for name in ("receiver", "worker")
        for volume in pods()[name]["volumes"]
        if volume["name"] == "home"
    ]
    assert homes == [{"name": "home", "persistentVolumeClaim": {"claimName": "home"}}] * 2


def test_settings_of_a_receiver_are_read_as_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    compose = {name: env_file().get(name, text) for name, text in SERVICES["receiver"]["environment"].items()}
    manifest = {one["name"]: one.get("value", "") for one in dict(containers())["receiver"]["env"]}
    defaults = Receiving()
    for source in (compose, manifest):
        named = {name: text for name, text in source.items() if name.startswith("ROUNDS_RECEIVE_")}
        assert set(named) <= RECEIVE
        for name, text in named.items():
            monkeypatch.setenv(name, text)
        found = load_receiving()
        check(found)
        assert senders_of(found.senders)
        told = {name.removeprefix("ROUNDS_RECEIVE_").lower() for name in named} - {"host", "senders"}
        assert {name: getattr(found, name) for name in told} == {
            name: getattr(defaults, name) for name in told
        }


def test_compose_refuses_to_start_while_a_variable_is_unset() -> None:
    for path in INFRA.glob("compose*.yaml"):
        found = VARIABLE.findall(path.read_text())
        assert found
        assert {name for name, rest in found if rest != ":?"} == set()


def test_example_names_every_variable_and_every_setting() -> None:
    used = {name for name, _ in VARIABLE.findall((INFRA / "compose.yaml").read_text())}
    assert set(env_file()) == used
    assert set(re.findall(r"ROUNDS_[A-Z_0-9]+", (INFRA / "env.example").read_text())) >= SETTINGS


def test_example_holds_no_secret() -> None:
    secret = re.compile("PASSWORD|SECRET|TOKEN|ACCESS_KEY|ROOT_USER|KEY_FILE")
    assert {name: value for name, value in env_file().items() if secret.search(name) and value} == {}


@pytest.mark.parametrize("name", RUN_ROUNDS)
def test_compose_sets_settings_that_exist_and_leaves_none_out(name: str) -> None:
    given = {key for key in SERVICES[name]["environment"] if key.startswith("ROUNDS_")}
    assert given - (RECEIVE if name == "receiver" else set()) == SETTINGS


@pytest.mark.parametrize("name", ["prepare", "worker", "service", "receiver"])
def test_manifests_set_settings_that_exist_and_leave_none_out(name: str) -> None:
    shared = set(of_kind("ConfigMap")["rounds"]["data"])
    own = {one["name"] for one in dict(containers())[name]["env"]}
    others = NOT_SETTINGS | (RECEIVE if name == "receiver" else set())
    assert {key for key in shared | own if key.startswith("ROUNDS_")} - others == SETTINGS


def test_numbers_of_the_example_are_the_defaults_of_the_code() -> None:
    defaults = Settings(home=Path("/nowhere"))
    shared = of_kind("ConfigMap")["rounds"]["data"]
    for source in (env_file(), shared):
        for field in (
            "audit_share",
            "test_share",
            "slice_url_days",
            "stages",
            "schemes",
            "s3_region",
            "s3_bucket",
        ):
            text = source[f"ROUNDS_{field.upper()}"]
            value = text if field.startswith("s3") else yaml.safe_load(text)
            expected = getattr(defaults, field)
            assert value == (list(expected) if isinstance(expected, tuple) else expected), field


def test_secrets_of_the_manifests_come_from_the_secret() -> None:
    for name, container in containers():
        for one in container.get("env", []):
            if re.search("PASSWORD|SECRET|TOKEN|ACCESS_KEY|ROOT_USER", one["name"]):
                assert one["valueFrom"]["secretKeyRef"]["name"] == "rounds", (name, one["name"])
    assert of_kind("Secret") == {}


def images() -> Iterator[str]:
    yield from (service["image"] for service in SERVICES.values())
    yield from (container["image"] for _, container in containers())
    for path in INFRA.rglob("Dockerfile"):
        yield from re.findall(r"^FROM (\S+)", path.read_text(), re.MULTILINE)


def test_images_are_pinned_by_version_and_the_same_everywhere() -> None:
    ours = {"rounds", "rounds-labelstudio", "rounds-gpu"}
    tags: dict[str, set[str]] = {}
    for image in images():
        name, _, tag = image.partition(":")
        tags.setdefault(name, set()).add(tag)
    for name in set(tags) - ours:
        assert len(tags[name]) == 1, name
        assert re.search(r"\d+\.\d+|RELEASE\.\d", next(iter(tags[name]))), name
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    kustomization = yaml.safe_load((INFRA / "k8s" / "kustomization.yaml").read_text())
    assert {one["name"]: one["newTag"] for one in kustomization["images"]} == {
        "rounds": version[1],
        "rounds-labelstudio": version[1],
    }
    assert env_file()["ROUNDS_VERSION"] == version[1]
    assert {"rounds", "rounds-labelstudio"} <= set(tags)


def test_images_install_from_the_constraints_on_the_same_python() -> None:
    for name, constraints in (("Dockerfile", "main"), ("labelstudio/Dockerfile", "labelstudio")):
        text = (INFRA / name).read_text()
        installs = re.findall(r"pip install .*", text)
        assert installs
        assert all(f"-c constraints/{constraints}.txt" in line for line in installs)
        assert re.search(r"^FROM python:3\.11\.", text, re.MULTILINE)
        assert re.search(r"^USER (?!root)", text, re.MULTILINE)


def test_versions_that_must_agree_are_in_the_constraints() -> None:
    main = (ROOT / "constraints" / "main.txt").read_text()
    other = (ROOT / "constraints" / "labelstudio.txt").read_text()
    assert re.search(r"^prefect==3\.", main, re.MULTILINE)
    assert re.search(r"^asyncpg==", main, re.MULTILINE)  # the Prefect server's way to PostgreSQL
    assert re.search(r"^label-studio==1\.23\.", other, re.MULTILINE)
    assert re.search(r"^gunicorn==", other, re.MULTILINE)
    assert re.search(r"^psycopg(2|2-binary|-binary)?==", other, re.MULTILINE)


def test_no_part_phones_home() -> None:
    labelstudio = (INFRA / "labelstudio" / "Dockerfile").read_text()
    for switch in (
        "SENTRY_DSN= ",
        "FRONTEND_SENTRY_DSN= ",
        "COLLECT_ANALYTICS=false",
        "LATEST_VERSION_CHECK=false",
    ):
        assert switch in labelstudio
    off = {"PREFECT_SERVER_ANALYTICS_ENABLED", "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY"}
    for name in ("prefect", *RUN_ROUNDS):
        assert {SERVICES[name]["environment"][switch] for switch in off} == {"false"}
    shared: Mapping[str, str] = of_kind("ConfigMap")["rounds"]["data"]
    assert {shared[switch] for switch in off} == {"false"}
    server = {one["name"]: one.get("value") for one in dict(containers())["prefect"]["env"]}
    assert {server[switch] for switch in off} == {"false"}
    assert SERVICES["objects"]["environment"]["MINIO_UPDATE"] == "off"


def test_files_that_are_mounted_or_copied_exist() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith("./") or (INFRA / source).exists(), source
    for path in INFRA.rglob("Dockerfile"):
        for line in re.findall(r"^COPY (.+) \S+$", path.read_text(), re.MULTILINE):
            assert all((ROOT / source).exists() for source in line.split()), line


def test_manifests_carry_the_same_scripts_as_compose() -> None:
    maps = of_kind("ConfigMap")
    assert maps["database-setup"]["data"]["databases.sh"] == (INFRA / "postgres" / "databases.sh").read_text()
    for name, text in maps["objects-setup"]["data"].items():
        assert text == (INFRA / "objects" / name).read_text()


def test_kustomization_lists_every_manifest_and_services_find_their_pods() -> None:
    kustomization = yaml.safe_load((INFRA / "k8s" / "kustomization.yaml").read_text())
    there = {path.name for path in (INFRA / "k8s").glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == there
    for name, service in of_kind("Service").items():
        workload = of_kind("Deployment", "StatefulSet")[name]["spec"]
        assert service["spec"]["selector"].items() <= workload["template"]["metadata"]["labels"].items()


def test_worker_serves_the_pool_that_the_deployments_go_to() -> None:
    commands = [SERVICES["worker"]["command"], dict(containers())["worker"]["command"]]
    for command in commands:
        assert command[command.index("--pool") + 1] == POOL
        assert command[command.index("--type") + 1] == "process"


def test_prefect_file_is_what_the_code_registers() -> None:
    declared = yaml.safe_load((INFRA / "prefect.yaml").read_text())["deployments"]
    assert [
        (
            one["name"],
            one["entrypoint"],
            one["work_pool"]["name"],
            [s["interval"] for s in one.get("schedules", [])],
        )
        for one in declared
    ] == [
        (
            deployment.name,
            f"rounds_flows.{deployment.name}.{deployment.name}",
            POOL,
            [deployment.every.total_seconds()] if deployment.every else [],
        )
        for deployment in DEPLOYMENTS
    ]


def test_the_image_holds_the_libraries_to_one_thread_as_the_embedded_worker_does() -> None:
    image = (INFRA / "Dockerfile").read_text()
    assert all(f"{name}={value}" in image for name, value in ONE_THREAD.items())
    ask = "import cv2, threadpoolctl as t; print(cv2.getNumThreads(), *(p['num_threads'] for p in t.threadpool_info()))"
    told = subprocess.run(
        [sys.executable, "-c", ask],
        env={**os.environ, **ONE_THREAD},
        capture_output=True,
        check=True,
        text=True,
    )
    assert set(told.stdout.split()) == {"1"}
