import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lab.app import app
from lab.commands.image import WRITES_PARQUET, compose_problems, variant
from lab.release.images import read_images
from registry.timescale import TRIED
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


@pytest.mark.parametrize(
    ("version", "library", "passes"),
    [
        ("2.19.3", "timescaledb-2.19.3.so", True),
        ("2.20.0", "timescaledb-2.20.0.so", False),
        ("2.19.3", "timescaledb-tsl-2.19.3.so", False),
    ],
)
def test_the_build_of_the_database_s_image_looks_at_version_and_edition(
    tmp_path: Path, version: str, library: str, passes: bool
) -> None:
    text = (CHECKOUT / "deploy" / "postgresql.Containerfile").read_text("utf-8")
    [look] = re.findall(r"^RUN (grep .*?)\nUSER", text, re.DOTALL | re.MULTILINE)
    for file, octets in (
        (f"usr/lib/postgresql/17/lib/{library}", ""),
        ("usr/share/postgresql/17/extension/timescaledb.control", f"default_version = '{version}'\n"),
    ):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text(octets, "utf-8")

    done = subprocess.run(
        ["sh", "-c", look.replace("/usr/", f"{tmp_path}/usr/")], capture_output=True, check=False
    )

    assert (done.returncode == 0) is passes


def test_every_layout_has_the_version_that_is_tried_and_one_edition() -> None:
    text = (CHECKOUT / "deploy" / "postgresql.Containerfile").read_text("utf-8")
    images = read_images(CHECKOUT)

    assert re.findall(r"postgresql-17-timescaledb=([\d.]+)\.\*", text) == [TRIED]
    assert re.fullmatch(rf"timescale/timescaledb:{TRIED}\.\d+-pg17-oss", images["timescale/timescaledb"].image)
    assert re.fullmatch(rf"postgresql-timescaledb:17\.\d+-{TRIED}\.\d+", images["postgresql-timescaledb"].image)


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
