"""De-identifying the files of a volume while it is read: each is checked a second time and packed, none is kept."""

from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType

import pydicom
from pydicom.dataset import FileDataset

from rounds.cases.archive import Packing
from rounds.imaging.deid import Deidentified, deidentify_dataset
from rounds.imaging.dicom import Unreadable, read_dataset
from rounds.imaging.gate import Stack
from rounds.imaging.refusal import Reason, Refusal
from rounds.imaging.residue import Residue
from rounds.imaging.volume import Volume, VolumeRefused, load_volume
from rounds.objects import ObjectStore


class Cleaning:
    """The files of one volume, de-identified into a file without a name under `home`, which ends with this object.

    `key` is the patient's pseudonymisation key of 32 bytes. `study` is the new StudyInstanceUID and `device` the maker
    and the model, read from the lowest file as it was de-identified, so that nothing else can have slipped in.
    """

    def __init__(self, key: bytes, site: str, home: Path) -> None:
        self._key, self._site = key, site
        self._file = TemporaryFile(dir=home)  # noqa: SIM115 (closed by __exit__)
        self._packing = Packing(self._file)
        self._residue = Residue()
        self._places: set[str] = set()
        self._telling: list[Path] = []
        self.study = ""
        self.device = ("unknown", "unknown")

    def __enter__(self) -> "Cleaning":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:  # closed last: a zip that is left open would be finished in a closed file
            self._packing.close()

    def volume(self, stack: Stack) -> Volume:
        """Load a stack's volume and take its files in, each read once where it holds one slice; raise VolumeRefused."""
        if all(one.frame is None for one in stack.slices):
            volume = load_volume(stack, self._take)
            self._packing.close()
            return volume
        for path in stack.files:
            self._take(path, read_dataset(path))
        self._packing.close(_frames(stack))
        return load_volume(stack)

    def refusal(self) -> Refusal | None:
        """Say in which files something of a header was found, if in any: then nothing of them may be stored."""
        if not self._telling:
            return None
        detail = f"{', '.join(sorted(self._places)[:5])}; files: {len(self._telling)}"
        return Refusal(Reason.RESIDUAL_IDENTITY, detail, tuple(self._telling))

    def store(self, objects: ObjectStore) -> str:
        """Store the packed files; return their reference."""
        return objects.put_file(self._file, ".zip")

    def _take(self, path: Path, source: FileDataset) -> None:
        try:
            done = deidentify_dataset(source, self._key, self._site)
        except Unreadable as error:
            raise VolumeRefused(Refusal(Reason.UNDECODABLE, str(error), (path,))) from error
        if found := self._residue.find(path, done.data):
            self._places.update(f"{finding.kind} in {finding.place}" for finding in found)
            self._telling.append(path)
        if not self.study:
            self.study, self.device = done.study_uid, _device(done)
        self._packing.add(done.data)


def _device(first: Deidentified) -> tuple[str, str]:
    header = pydicom.dcmread(BytesIO(first.data), specific_tags=["Manufacturer", "ManufacturerModelName"])
    return str(header.get("Manufacturer") or "unknown"), str(header.get("ManufacturerModelName") or "unknown")


def _frames(stack: Stack) -> list[tuple[int, int]]:
    """Return for each slice in z order its file's number and its frame there."""
    number = {path: index for index, path in enumerate(stack.files)}
    return [(number[one.path], one.frame or 0) for one in stack.slices]
