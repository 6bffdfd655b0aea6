"""The scheme files that ship are sound, and every fault names its file and field."""

from pathlib import Path

import pytest

from rounds.labelstudio.errors import SchemeInvalid
from rounds.labelstudio.schemes import load_scheme, load_schemes

CONFIGS = Path(__file__).parents[4] / "annotation_configs"


def test_every_shipped_scheme_loads() -> None:
    names = tuple(sorted(path.stem for path in CONFIGS.glob("*.yaml")))
    assert names == ("lesion", "lobes", "lung")
    assert names == tuple(sorted(path.stem for path in CONFIGS.glob("*.xml")))
    schemes = load_schemes(CONFIGS, names)
    assert [scheme.slab for scheme in schemes.values()] == [None, 16, 32]
    assert len(schemes["lobes"].labels) == 5
    assert schemes["lesion"].window == (-1024, 350)
    assert (schemes["lesion"].control, schemes["lesion"].image) == ("mask", "image")


def test_a_label_is_found_by_name() -> None:
    lobes = load_scheme(CONFIGS, "lobes")
    assert lobes.value_of("right middle") == 4
    assert lobes.value_of("heart") is None


@pytest.mark.parametrize(
    ("suffix", "old", "new", "message"),
    [
        ("yaml", "value: 1", "value: 0", r"lesion\.yaml: labels\.0\.value"),
        ("yaml", "value: 1", "value: 256", r"lesion\.yaml: labels\.0\.value"),
        ("yaml", "#e6194b", "red", r"lesion\.yaml: labels\.0\.colour"),
        ("yaml", "slab: null", "slab: 0", r"lesion\.yaml: slab"),
        ("yaml", "[-1024, 350]", "[350, -1024]", r"lesion\.yaml: .*window: the lower end"),
        ("yaml", "name: lesion\ntitle", "name: other\ntitle", r"lesion\.yaml: name"),
        ("yaml", "slab: null", "slab: null\nsmooth: true", r"lesion\.yaml: smooth"),
        ("yaml", "title: Lung lesions\n", "", r"lesion\.yaml: title"),
        ("yaml", "title:", "title: [", r"lesion\.yaml: is not YAML"),
        (
            "yaml",
            '"#e6194b"}',
            '"#e6194b"}\n  - {name: lesion, value: 2, colour: "#000000"}',
            r"every name must occur once",
        ),
        ("xml", 'smoothing="false"', "", r"lesion\.xml: Image\.smoothing: must be 'false'"),
        ("xml", 'rotateControl="false"', "", r"lesion\.xml: Image\.rotateControl"),
        ("xml", "$images", "$image", r"lesion\.xml: Image\.valueList"),
        ("xml", 'toName="image"', 'toName="picture"', r"lesion\.xml: BitmaskLabels\.toName"),
        ("xml", "$header", "Reasons", r"lesion\.xml: Header\.value"),
        ("xml", 'value="lesion"', 'value="Lesion"', r"lesion\.xml: Label"),
        ("xml", "#e6194b", "#000000", r"lesion\.xml: Label"),
        ("xml", "BitmaskLabels", "BrushLabels", r"lesion\.xml: BitmaskLabels: exactly one"),
        ("xml", "</View>", "", r"lesion\.xml: is not XML"),
    ],
)
def test_a_fault_names_file_and_field(tmp_path: Path, suffix: str, old: str, new: str, message: str) -> None:
    for end in ("yaml", "xml"):
        text = (CONFIGS / f"lesion.{end}").read_text()
        assert end != suffix or old in text
        (tmp_path / f"lesion.{end}").write_text(text.replace(old, new) if end == suffix else text)
    with pytest.raises(SchemeInvalid, match=message):
        load_scheme(tmp_path, "lesion")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SchemeInvalid, match=r"nowhere\.yaml: cannot be read"):
        load_scheme(tmp_path, "nowhere")
