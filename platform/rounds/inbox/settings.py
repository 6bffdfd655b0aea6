"""How Rounds receives scans: `ROUNDS_RECEIVE_*`, read by the receiver and by the service alike."""

from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from rounds.imaging.dicom import MAX_FILE_BYTES


class BadReceiving(Exception):
    """A setting of receiving cannot be understood."""


class Receiving(BaseSettings):
    """Settings of receiving; nobody may send until `senders` says who.

    `senders` maps an AE title ("CT1"), a title at an address ("CT1@10.0.0.7") or an account that sends over HTTP
    ("@pacs@hospital.example") to the site whose scans it sends. `archive` is asked how many slices a series has, as
    TITLE@HOST:PORT (C-FIND) or a DICOMweb address (QIDO-RS), for which `archive_credentials` is a file.
    """

    model_config = SettingsConfigDict(
        env_prefix="ROUNDS_RECEIVE_",
        env_ignore_empty=True,
        env_parse_none_str="none",
        extra="ignore",
        frozen=True,
    )

    senders: dict[str, str] = Field(default_factory=dict)
    ae_title: str = Field(default="ROUNDS", min_length=1, max_length=16)
    host: str = "127.0.0.1"
    port: int = Field(default=11112, ge=1, le=65535)
    quiet_seconds: float = Field(default=60.0, gt=0)
    archive: str | None = None
    archive_credentials: Path | None = None
    longest_wait_minutes: float = Field(default=24 * 60.0, gt=0)
    keep_minutes: float = Field(default=60.0, ge=0)
    associations: int = Field(default=10, ge=1)
    max_file_bytes: int = Field(default=MAX_FILE_BYTES, gt=0)
    spare_bytes: int = Field(default=2 * 2**30, ge=0)
    certificate: Path | None = None
    key: Path | None = None
    authorities: Path | None = None


def load_receiving(**options: object) -> Receiving:
    """Read the settings anew, with the options that win over them; raise BadReceiving."""
    try:
        return Receiving.model_validate({**Receiving().model_dump(), **options})
    except SettingsError:
        raise BadReceiving("""ROUNDS_RECEIVE_SENDERS is not JSON like '{"CT1": "north"}'""") from None
    except ValidationError as error:
        wrong = error.errors()[0]
        name = "_".join(str(part) for part in wrong["loc"][:1]).upper()
        raise BadReceiving(f"ROUNDS_RECEIVE_{name}: {wrong['msg'].lower()}") from None
