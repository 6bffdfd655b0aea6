"""Where every part of Rounds is and how the rounds are run: `ROUNDS_*`, then the running stack, then defaults."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

REPOSITORY = Path(__file__).resolve().parents[2]


class NotRunning(Exception):
    """A part of the stack is needed whose address is neither set nor known from `rounds up`."""


class StackFile(PydanticBaseSettingsSource):
    """Read the addresses and secrets that `rounds up` wrote to `<home>/stack.json`."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._known.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._known

    @cached_property
    def _known(self) -> dict[str, Any]:
        home = self.current_state.get("home") or Path.home() / ".rounds"
        path = Path(home) / "stack.json"
        if not path.is_file():
            return {}
        known = json.loads(path.read_text())["settings"]
        return {name: value for name, value in known.items() if name in Settings.model_fields}


class Settings(BaseSettings):
    """Settings of one installation; an environment variable wins over what `rounds up` wrote."""

    model_config = SettingsConfigDict(env_prefix="ROUNDS_", extra="ignore", frozen=True)

    home: Path = Field(default_factory=lambda: Path.home() / ".rounds")
    database_url: str | None = None
    s3_url: str | None = None
    s3_access_key: str | None = None
    s3_secret_key: str | None = None
    s3_region: str = "us-east-1"
    s3_bucket: str = "rounds"
    labelstudio_url: str | None = None
    labelstudio_token: str | None = None
    prefect_api_url: str | None = None
    service_url: str | None = None
    pseudonym_key_file: Path | None = None
    annotation_configs: Path = REPOSITORY / "annotation_configs"
    schemes: tuple[str, ...] = ("lesion",)
    audit_share: float = Field(default=0.30, gt=0, le=1)
    stages: tuple[int, ...] = (226, 454, 680, 908, 1136)
    test_share: float = Field(default=0.20, gt=0, lt=1)
    slice_url_days: int = Field(default=7, ge=1, le=7)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, StackFile(settings_cls)

    def require(self, name: str) -> str:
        """Return the setting `name`; raise NotRunning with what to do when it is unknown."""
        value = getattr(self, name)
        if not value:
            raise NotRunning(f"{name} is unknown: run `rounds up`, or set ROUNDS_{name.upper()}")
        return str(value)


def load_settings() -> Settings:
    """Read the settings anew; cheap enough for every command and flow run."""
    return Settings()
