"""Bring given parts to where Rounds can use them: migrations, bucket, deployments; run again, it changes nothing."""

import asyncio

from rounds.db import connect
from rounds.db.migrate import migrate
from rounds.objects import ObjectStore
from rounds.settings import load_settings
from rounds_flows.deployments import register


def main() -> None:
    """Prepare the parts at the addresses in ROUNDS_*; PREFECT_API_URL says where the deployments go."""
    settings = load_settings()
    with connect(settings) as conn:
        print("migrations applied:", ", ".join(migrate(conn)) or "none were missing")
    ObjectStore.from_settings(settings).ensure_bucket()
    print("deployments registered:", ", ".join(asyncio.run(register())))


if __name__ == "__main__":
    main()
