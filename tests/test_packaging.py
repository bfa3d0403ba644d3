"""The wheel holds all that a checkout does: what is forgotten there is hidden by running from the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "lorawan",
    "decoders",
    "core",
    "registry",
    "gateways",
    "network",
    "integrations",
    "ingest",
    "alerting",
    "lighting",
    "api",
    "services",
    "cli",
)
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

    missing = [name for name in tracked(*PACKAGES) if name not in packed]

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
        [sys.executable, "-P", "-c", program, str(tmp_path), *PACKAGES],
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
    assert set(PACKAGES).isdisjoint(sys.stdlib_module_names)
