"""The service: JSON API, pages and Label Studio's doorbell; `uvicorn --factory rounds.app:create_app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import APIRouter, BackgroundTasks, FastAPI, Response
from fastapi.staticfiles import StaticFiles

from rounds import __version__
from rounds.audits import api as audits_api
from rounds.batches import api as batches_api
from rounds.batches import pages as batches_pages
from rounds.cases import pages as cases_pages
from rounds.cases import quarantine_pages
from rounds.checks import api as checks_api
from rounds.datasets import pages as datasets_pages
from rounds.db import open_pool
from rounds.inbox import api as inbox_api
from rounds.inbox.collecting import collected
from rounds.inbox.settings import load_receiving
from rounds.labels import api as labels_api
from rounds.labels import pages as labels_pages
from rounds.people import api as people_api
from rounds.people import pages as people_pages
from rounds.releases import pages as releases_pages
from rounds.settings import Settings, load_settings
from rounds.web import errors
from rounds.web.attempts import Attempts
from rounds.web.doorbell import Doorbell
from rounds.web.identity import Running
from rounds.web.service import Service
from rounds.web.shield import Shield

STATIC = Path(__file__).parent / "web" / "static"
ROUTERS = (
    people_api.router,
    checks_api.router,
    audits_api.router,
    labels_api.router,
    batches_api.router,
    inbox_api.router,
    people_pages.router,
    checks_api.page_router,
    audits_api.page_router,
    labels_pages.router,
    batches_pages.router,
    cases_pages.router,
    cases_pages.cohort_router,
    quarantine_pages.router,
    datasets_pages.router,
    releases_pages.router,
)
own = APIRouter(include_in_schema=False)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the service; its connections open when the server starts and close when it stops."""
    known = settings or load_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        pool = open_pool(known)
        app.state.service = Service(known, pool, Attempts(), Doorbell(known))
        try:
            with collected(known, load_receiving()):
                yield
        finally:
            pool.close()

    app = FastAPI(
        title="Rounds",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    for router in (own, *ROUTERS):
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    errors.install(app)
    app.add_middleware(Shield)
    return app


@own.get("/healthz")
def healthz(running: Running) -> dict[str, str]:
    """Say that the service and its database answer."""
    with running.pool.connection(timeout=2) as conn:
        conn.execute("SELECT FROM people LIMIT 1")
    return {"status": "ok", "version": __version__}


@own.post("/hooks/labelstudio", status_code=204)
def doorbell(running: Running, later: BackgroundTasks) -> Response:
    """Take a ring: the payload is never read, the truth comes from polling."""
    later.add_task(running.doorbell.ring)
    return Response(status_code=204, background=later)
