"""A small clinic made by code: people, phantom cases, a batch, in a database of its own on the session's server."""

from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import numpy.typing as npt
import psycopg
from fastapi.testclient import TestClient

from rounds.batches import service as batches
from rounds.checks.model import Finding
from rounds.checks.service import check
from rounds.db import Connection, connect
from rounds.db.migrate import migrate
from rounds.imaging.nifti import encode_mask
from rounds.imaging.render import slice_png
from rounds.labels import service, store
from rounds.labels.store import Label
from rounds.objects import ObjectStore
from rounds.people import store as people
from rounds.people.model import Person, Role
from rounds.settings import Settings
from rounds.web.identity import COOKIE

PASSWORD = "correct horse battery"
STAFF = {
    "ann": Role.ANNOTATOR,
    "amy": Role.ANNOTATOR,
    "ben": Role.CHECKER,
    "bea": Role.CHECKER,
    "bob": Role.CHECKER,  # checks no batch here
    "sue": Role.SENIOR,
    "quin": Role.QA,
    "eve": Role.ENGINEER,
    "ada": Role.ADMIN,
}
NAMES = {
    "ann": "Annika Tor",
    "amy": "Amos Lind",
    "ben": "Benno Falk",
    "bea": "Beate Rau",
    "bob": "Bodo Ernst",
    "sue": "Susan Okoye",
    "quin": "Quintin Maas",
    "eve": "Evelyn Bergmann",
    "ada": "Adele Pohl",
}
WINDOW = (-1024.0, 350.0)

Hu = npt.NDArray[np.int16]
Mask = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Clinic:
    """Settings of the clinic's own database, its staff by short name, and one batch."""

    settings: Settings
    staff: dict[str, Person]
    batch_id: int

    def connect(self) -> Connection:
        return connect(self.settings)

    def labels(self) -> list[Label]:
        with self.connect() as conn:
            return store.of_batch(conn, self.batch_id)

    def submit(self, label_id: int, seed: int = 0) -> None:
        """Let the assignee submit a mask of the label's case."""
        with self.connect() as conn, conn.transaction():
            label = store.get(conn, label_id)
            by = next(person for person in self.staff.values() if person.id == label.annotator_id)
            row = conn.execute("SELECT shape FROM cases WHERE id = %s", (label.case_id,)).fetchone()
            assert row is not None
            _, mask = phantom(tuple(row["shape"]), label.case_id)
            mask = np.roll(mask, seed, axis=2)
            ref = ObjectStore.from_settings(self.settings).put(encode_mask(mask, affine()), ".nii.gz")
            service.submit(conn, label_id, by, ref, seconds=60.0 + 5 * label_id)

    def submit_all(self) -> None:
        for label in self.labels():
            self.submit(label.id)

    def check(self, label_id: int, short: str, finding: Finding) -> None:
        """Let a checker give a verdict through the domain."""
        with self.connect() as conn, conn.transaction():
            check(conn, label_id, self.staff[short], finding)


def phantom(shape: tuple[int, int, int], seed: int) -> tuple[Hu, Mask]:
    """Return a chest-like volume in HU and its lesion mask, both (z, y, x)."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
    noise = np.random.default_rng(seed)
    hu = np.full(shape, -1000.0)
    hu[np.broadcast_to((y / 0.72) ** 2 + (x / 0.92) ** 2 < 1, shape)] = 40
    lungs = np.zeros(shape, dtype=bool)
    for side in (-1, 1):
        lungs |= ((x - side * 0.42) / 0.33) ** 2 + (y / 0.5) ** 2 + (z / 0.98) ** 2 < 1
    hu[lungs] = -860
    for _ in range(30):
        vx, vy, r = noise.uniform(-0.7, 0.7), noise.uniform(-0.45, 0.45), noise.uniform(0.008, 0.022)
        hu[lungs & ((x - vx - 0.1 * z) ** 2 + (y - vy) ** 2 < r**2)] = 30
    hu[np.broadcast_to((x / 0.1) ** 2 + ((y - 0.52) / 0.1) ** 2 < 1, shape)] = 500
    mask = np.zeros(shape, dtype=np.uint8)
    for side in (-1, 1):
        cz, cy = noise.uniform(-0.45, 0.45), noise.uniform(-0.2, 0.25)
        lesion = ((x - side * 0.45) / 0.14) ** 2 + ((y - cy) / 0.16) ** 2 + ((z - cz) / 0.22) ** 2 < 1
        mask[lesion & lungs] = 1
    hu[mask > 0] += 450
    return (hu + noise.normal(0, 18, shape)).astype(np.int16), mask


def affine() -> npt.NDArray[np.float64]:
    """Return the usual axial geometry: columns to the patient's left, rows to the back, in RAS mm."""
    return np.diag([-0.8, -0.8, 2.5, 1.0])


def database(settings: Settings, name: str, template: str | None = None) -> Settings:
    """Make a database of this name on the same server, with the schema or as a copy; a former one is dropped."""
    with psycopg.connect(settings.require("database_url"), autocommit=True) as admin:
        admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        admin.execute(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))
    url = urlsplit(settings.require("database_url"))
    own = settings.model_copy(update={"database_url": urlunsplit(url._replace(path=f"/{name}"))})
    if template is None:
        with connect(own) as conn:
            migrate(conn)
    return own


def build(settings: Settings, cases: int = 4, shape: tuple[int, int, int] = (12, 64, 64)) -> Clinic:
    """Fill a fresh database: staff, cases with slice images, one batch whose tasks stand."""
    with connect(settings) as conn, conn.transaction():
        staff = {
            short: people.add(conn, "operator", f"{short}@clinic.example", NAMES[short], [role], PASSWORD)
            for short, role in STAFF.items()
        }
        for number in range(1, cases + 1):
            store.create(conn, add_case(conn, settings, shape, number), "lesion")
        annotators, checkers = [staff["ann"], staff["amy"]], [staff["ben"], staff["bea"]]
        batch = batches.open_batch(conn, "lesion", cases, annotators, checkers, 0.3, "operator")
        batches.start(conn, batch.id, "operator")
    return Clinic(settings, staff, batch.id)


def add_case(conn: Connection, settings: Settings, shape: tuple[int, int, int], number: int) -> int:
    """Store the slices of a phantom and write its case; return the case's id."""
    objects = ObjectStore.from_settings(settings)
    volume, _ = phantom(shape, number)
    slices = [objects.put(slice_png(plane, WINDOW), ".png") for plane in volume]
    conn.execute("INSERT INTO patients (id, diagnosis) VALUES (%s, 'covid')", (f"pseudonym-{number}",))
    row = conn.execute(
        """
        INSERT INTO cases (series_key, patient_id, site, manufacturer, scanner, source_slices, source_spacing, spacing,
                           shape, affine, volume, slices, dicom, policy_version)
        VALUES (%s, %s, 'north', 'UIH', 'uCT 530', %s, '{2.5,0.8,0.8}', '{2.5,0.8,0.8}', %s, %s, 'none', %s, '{}', '1')
        RETURNING id
        """,
        (f"key-{number}", f"pseudonym-{number}", shape[0], list(shape), affine().tolist(), slices),
    ).fetchone()
    assert row is not None
    return int(row["id"])


def as_person(client: TestClient, short: str) -> None:
    """Give the client's browser a session of this person."""
    client.cookies.set(COOKIE, token(client, short)["Authorization"].removeprefix("Bearer "))


def token(client: TestClient, short: str) -> dict[str, str]:
    """Log in over the API; return the header that carries the token."""
    answer = client.post("/api/login", json={"email": f"{short}@clinic.example", "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}
