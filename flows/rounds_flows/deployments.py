"""Registers every flow with Prefect as the deployment `<name>/<name>` of the work pool `rounds`."""

import asyncio
import importlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from prefect.types.entrypoint import EntrypointType

POOL = "rounds"


@dataclass(frozen=True)
class Deployment:
    """A flow by its name, and how often it runs by itself."""

    name: str
    every: timedelta | None = None


DEPLOYMENTS = (
    Deployment("ingest"),
    Deployment("quarantine"),
    Deployment("batch"),
    Deployment("sync", every=timedelta(minutes=2)),
    Deployment("train"),
    Deployment("prelabel"),
    Deployment("sweep", every=timedelta(minutes=5)),
)


class NotAFlow(Exception):
    """A module of `rounds_flows` has no flow of its own name."""


def flow_called(name: str) -> Flow[..., object]:
    """Return the flow `rounds_flows.<name>.<name>`."""
    found = getattr(importlib.import_module(f"rounds_flows.{name}"), name, None)
    if not isinstance(found, Flow) or found.name != name:
        raise NotAFlow(f"rounds_flows.{name} has no flow `{name}` of that name")
    return found


async def register() -> list[str]:
    """Create or update the pool and the deployments; return the names registered.

    Registering a schedule again drops the runs it has not begun: after a night down there is no backlog.
    """
    async with get_client() as client:
        with suppress(ObjectAlreadyExists):
            await client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    names = []
    for deployment in DEPLOYMENTS:
        if find_spec(f"rounds_flows.{deployment.name}") is None:
            continue
        runner = await flow_called(deployment.name).ato_deployment(
            name=deployment.name,
            work_pool_name=POOL,
            interval=deployment.every,
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        await runner.aapply()
        names.append(deployment.name)
    return names


def main() -> None:
    """Register everything with the server at PREFECT_API_URL."""
    print("registered:", *asyncio.run(register()))


if __name__ == "__main__":
    main()
