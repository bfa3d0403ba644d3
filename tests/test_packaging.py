"""The wheel holds all that a checkout does: what is forgotten there is hidden by running from the checkout."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cli.install import PACKAGES as INSTALLED
from tests.rooms import CHECKOUT, LAB, PRODUCT, PROJECT

BUILD = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"


def tracked(*patterns: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    return [name for name in listed.stdout.split("\0") if name and (CHECKOUT / name).exists()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return folder / built.stdout.split()[-1]


def test_every_tracked_file_of_a_package_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())

    missing = [name for name in tracked(*PRODUCT) if name not in packed]

    assert missing == []


def test_the_packages_are_imported_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    """Generic names: another `core` or `services` on the path must not be taken for ours."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    program = (
        "import sys, importlib\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "for name in sys.argv[2:]: print(importlib.import_module(name).__file__)\n"
        "from registry.schema import migrations\n"
        "print(len(migrations()))\n"
    )

    ran = subprocess.run(
        [sys.executable, "-P", "-c", program, str(tmp_path), *PRODUCT],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    *origins, count = ran.stdout.split()
    assert ran.returncode == 0, ran.stderr
    assert all(Path(origin).is_relative_to(tmp_path) for origin in origins)
    assert int(count) == len(tracked("registry/migrations/*.sql"))


def test_no_package_of_ours_hides_one_of_the_standard_library() -> None:
    assert {*PRODUCT, LAB}.isdisjoint(sys.stdlib_module_names)


def root_packages() -> set[str]:
    """Every folder at the root that holds a tracked module, tests and examples of the documents apart."""
    return {name.partition("/")[0] for name in tracked("*/*.py", "*/**/*.py")} - {"tests", "docs"}


def test_every_list_of_packages_names_the_tracked_root_packages() -> None:
    rooms, tool = root_packages(), PROJECT["tool"]
    layers = re.split(r"[|\s]+", " ".join(tool["importlinter"]["contracts"][0]["layers"]))

    assert {*PRODUCT, LAB} == rooms
    assert set(tool["ruff"]["lint"]["isort"]["known-first-party"]) == rooms
    assert set(tool["pyright"]["include"]) == rooms
    assert set(tool["importlinter"]["root_packages"]) == rooms
    assert {layer.partition(".")[0] for layer in layers} == rooms
    assert set(INSTALLED) == set(PRODUCT)


def test_neither_wheel_nor_image_holds_the_laboratory(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name.partition("/")[0] for name in archive.namelist()}

    assert LAB not in packed
    assert not re.search(rf"^COPY {LAB}\b", (CHECKOUT / "deploy/Containerfile").read_text("utf-8"), re.MULTILINE)
