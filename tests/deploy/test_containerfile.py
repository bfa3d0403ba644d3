import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli.app import app

CHECKOUT = Path(__file__).resolve().parents[2]
CONTAINERFILE = CHECKOUT / "deploy" / "Containerfile"


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, CONTAINERFILE], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_has_every_package_that_runs() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) - {"bench"}
    lines = CONTAINERFILE.read_text("utf-8").splitlines()
    allowed = (CHECKOUT / ".containerignore").read_text("utf-8").splitlines()

    assert {f"COPY {package} {package}" for package in packages} <= set(lines)
    assert {f"!{package}" for package in packages} <= set(allowed)
    # Docker reads the one name, Podman and buildah the other.
    assert (CHECKOUT / ".dockerignore").read_text("utf-8").splitlines() == allowed


def test_without_buildah_the_image_is_said_not_to_be_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    done = CliRunner().invoke(app, ["check-image"])

    assert done.exit_code == 3
    assert "buildah et debootstrap manque" in done.output
