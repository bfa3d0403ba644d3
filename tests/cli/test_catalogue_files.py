from pathlib import Path

import pytest

from cli.catalogue_files import LARGEST, NoCatalogue, open_catalogue
from decoders.catalogues.files import Unreadable
from decoders.javascript.calls import Answer, Call


def evaluate(call: Call) -> Answer:
    raise AssertionError(call)


def made(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("x")
    return root


@pytest.mark.parametrize(
    ("path", "within", "read"),
    [
        (".", "", ["README", "vendor/a/x.yaml", "vendor/b/y.yaml", "vendor/index.yaml"]),
        ("vendor", "", ["vendor/a/x.yaml", "vendor/b/y.yaml", "vendor/index.yaml"]),
        ("vendor/a", "vendor/a", ["vendor/a/x.yaml", "vendor/index.yaml"]),
        ("vendor/a/x.yaml", "vendor/a/x.yaml", ["vendor/a/x.yaml", "vendor/index.yaml"]),
    ],
)
def test_of_one_vendor_its_own_folder_and_the_index_are_read(
    tmp_path: Path, path: str, within: str, read: list[str]
) -> None:
    made(
        tmp_path,
        "README",
        "vendor/index.yaml",
        "vendor/a/x.yaml",
        "vendor/b/y.yaml",
        ".git/z",
        "node_modules/m.js",
    )

    catalogue, part = open_catalogue(tmp_path / path, evaluate)

    assert (list(catalogue.paths), part) == (read, within)


def test_a_catalogue_below_a_folder_that_is_called_vendors_is_a_whole_one(tmp_path: Path) -> None:
    root = made(tmp_path / "vendors" / "copies", "device-catalog/vendors/a/vendor.yaml")

    catalogue, part = open_catalogue(root / "device-catalog", evaluate)

    assert (catalogue.paths, part) == (("vendors/a/vendor.yaml",), "")


def test_one_file_of_a_catalogue_is_read_alone(tmp_path: Path) -> None:
    made(tmp_path, "a.js", "test_decode_a.json")

    catalogue, part = open_catalogue(tmp_path / "a.js", evaluate)

    assert (catalogue.paths, part) == (("a.js", "test_decode_a.json"), "a.js")


def test_a_missing_or_too_large_catalogue_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(NoCatalogue, match="n'existe pas"):
        open_catalogue(tmp_path / "rien", evaluate)
    with (tmp_path / "grand.js").open("wb") as large:
        large.truncate(LARGEST + 1)
    catalogue, _ = open_catalogue(tmp_path, evaluate)
    with pytest.raises(Unreadable, match=r"grand\.js dépasse 8 Mo"):
        catalogue.text("grand.js")
