"""What is labelled: reads and validates the file pairs `<scheme>.yaml` and `<scheme>.xml` of `annotation_configs/`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rounds.labelstudio.errors import SchemeInvalid

IMAGES_FIELD = "images"
HEADER_FIELD = "header"


@dataclass(frozen=True)
class LabelClass:
    """One thing that is drawn: its name in Label Studio, its value in a mask (1 to 255), its colour `#rrggbb`."""

    name: str
    value: int
    colour: str


@dataclass(frozen=True)
class Scheme:
    """A labelling scheme; `window` in HU, `slab` the slices per task or None for a whole case per task."""

    name: str
    title: str
    labels: tuple[LabelClass, ...]
    window: tuple[int, int]
    slab: int | None
    config: str
    control: str
    image: str

    def value_of(self, name: str) -> int | None:
        """Return the mask value of the label called `name`, or None."""
        return next((label.value for label in self.labels if label.name == name), None)


class _LabelEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(min_length=1)
    value: int = Field(ge=1, le=255)
    colour: str = Field(pattern=r"^#[0-9a-f]{6}$")


class _SchemeEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    title: str = Field(min_length=1, max_length=24)
    labels: Annotated[list[_LabelEntry], Field(min_length=1)]
    window: tuple[int, int]
    slab: Annotated[int, Field(ge=1)] | None

    @model_validator(mode="after")
    def _consistent(self) -> "_SchemeEntry":
        for field in ("name", "value"):
            seen = [getattr(label, field) for label in self.labels]
            if len(set(seen)) != len(seen):
                raise ValueError(f"labels: every {field} must occur once")
        if self.window[0] >= self.window[1]:
            raise ValueError("window: the lower end must be below the upper")
        return self


def load_scheme(folder: Path, name: str) -> Scheme:
    """Read `<name>.yaml` and `<name>.xml` from `folder`; raise SchemeInvalid naming file and field."""
    yaml_path, xml_path = folder / f"{name}.yaml", folder / f"{name}.xml"
    entry = _read_entry(yaml_path)
    if entry.name != name:
        raise SchemeInvalid(f"{yaml_path}: name: must be {name!r}, as the file is called")
    labels = tuple(LabelClass(label.name, label.value, label.colour) for label in entry.labels)
    config = _read_text(xml_path)
    control, image = _check_config(xml_path, config, labels)
    return Scheme(entry.name, entry.title, labels, entry.window, entry.slab, config, control, image)


def load_schemes(folder: Path, names: tuple[str, ...]) -> dict[str, Scheme]:
    """Read the schemes called `names` from `folder`, in that order."""
    return {name: load_scheme(folder, name) for name in names}


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SchemeInvalid(f"{path}: cannot be read ({error.strerror}); every scheme needs it") from error


def _read_entry(path: Path) -> _SchemeEntry:
    try:
        return _SchemeEntry.model_validate(yaml.safe_load(_read_text(path)))
    except yaml.YAMLError as error:
        raise SchemeInvalid(f"{path}: is not YAML") from error
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'file'}: {fault['msg']}"
            for fault in error.errors(include_url=False)
        )
        raise SchemeInvalid(f"{path}: {faults}") from error


def _check_config(path: Path, config: str, labels: tuple[LabelClass, ...]) -> tuple[str, str]:
    """Return the names of the BitmaskLabels and Image tags after checking that they agree with `labels`."""
    try:
        root = ElementTree.fromstring(config)  # noqa: S314 (a file of the installation, not of a stranger)
    except ElementTree.ParseError as error:
        raise SchemeInvalid(f"{path}: is not XML ({error})") from error
    image, control = _only(path, root, "Image"), _only(path, root, "BitmaskLabels")
    wanted = {
        (image, "valueList"): f"${IMAGES_FIELD}",
        (image, "smoothing"): "false",
        (image, "rotateControl"): "false",
        (control, "toName"): image.get("name"),
    }
    for (element, attribute), value in wanted.items():
        if element.get(attribute) != value:
            raise SchemeInvalid(f"{path}: {element.tag}.{attribute}: must be {value!r}")
    if not any(header.get("value") == f"${HEADER_FIELD}" for header in root.iter("Header")):
        raise SchemeInvalid(
            f"{path}: Header.value: one must be '${HEADER_FIELD}', for the reasons of a revision"
        )
    drawn = [(label.get("value"), label.get("background")) for label in control.iter("Label")]
    if drawn != [(label.name, label.colour) for label in labels]:
        raise SchemeInvalid(
            f"{path}: Label: values and backgrounds must be the names and colours of the YAML file"
        )
    return control.get("name", ""), image.get("name", "")


def _only(path: Path, root: ElementTree.Element, tag: str) -> ElementTree.Element:
    found = list(root.iter(tag))
    if len(found) != 1 or not found[0].get("name"):
        raise SchemeInvalid(f"{path}: {tag}: exactly one with a name is needed, found {len(found)}")
    return found[0]
