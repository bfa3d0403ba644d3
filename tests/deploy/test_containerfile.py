import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lab.app import app
from lab.commands.image import WRITES_PARQUET, compose_problems, variant
from tests.rooms import PRODUCT

CHECKOUT = Path(__file__).resolve().parents[2]
CONTAINERFILE = CHECKOUT / "deploy" / "Containerfile"


@pytest.mark.parametrize("file", sorted((CHECKOUT / "deploy").glob("*Containerfile")), ids=lambda file: file.name)
def test_hadolint_accepts_the_containerfile(file: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, file], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_has_every_package_that_runs() -> None:
    lines = CONTAINERFILE.read_text("utf-8").splitlines()
    allowed = (CHECKOUT / ".containerignore").read_text("utf-8").splitlines()

    assert {f"COPY {package} {package}" for package in PRODUCT} <= set(lines)
    assert {f"!{package}" for package in PRODUCT} <= set(allowed)
    # Docker reads the one name, Podman and buildah the other.
    assert (CHECKOUT / ".dockerignore").read_text("utf-8").splitlines() == allowed


def test_what_the_image_leaves_out_nobody_imports() -> None:
    [left_out] = re.findall(r"pip uninstall --quiet --yes ([\w ]+) pip\b", CONTAINERFILE.read_text("utf-8"))
    importing = re.compile(rf"^\s*(import|from) ({'|'.join(left_out.split())})\b", re.MULTILINE)

    assert "matplotlib" in left_out
    for package in PRODUCT:
        for file in (CHECKOUT / package).rglob("*.py"):
            assert not importing.search(file.read_text("utf-8")), file


def test_one_argument_builds_the_variant_with_parquet() -> None:
    text = CONTAINERFILE.read_text("utf-8")

    assert variant(parquet=False) == []
    name, _, _ = variant(parquet=True)[1].partition("=")
    # Empty unless it is given; what the extra needs is installed by its own lock, with hashes like all else.
    assert f"\nARG {name}=\n" in text
    assert f"${{{name}:+-r requirements-parquet.lock}}" in text
    assert f'args: {{{name}: "${{{name}:-}}"}}' in (CHECKOUT / "deploy" / "compose.yaml").read_text("utf-8")
    assert f"--build-arg {name}=1" in (CHECKOUT / "docs" / "kubernetes.md").read_text("utf-8")


def test_what_an_image_with_parquet_is_asked_runs_where_the_extra_is() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", WRITES_PARQUET], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_without_buildah_the_image_is_said_not_to_be_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    done = CliRunner().invoke(app, ["check-image"])

    assert done.exit_code == 3
    assert "buildah et debootstrap manque" in done.output


def test_docker_compose_is_asked_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compose = tmp_path / "docker-compose"
    compose.write_text('#!/bin/sh\n[ "$KEK" = x ] && [ "$4" = --quiet ] && echo "$2: no such key"\n', "utf-8")
    compose.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    [problem] = compose_problems()

    assert "deploy/compose.yaml: no such key" in problem
