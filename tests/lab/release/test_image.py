import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lab.app import app
from lab.release import inventory
from lab.release.buildah import INTERPRETER, NotBuilt
from lab.release.image import build_image, look_inside
from lab.release.inventory import Inventory
from tests.rooms import CHECKOUT


def test_without_anything_to_build_with_there_is_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(NotBuilt, match=r"^buildah manque \(apt-get install buildah\)$"):
        build_image(CHECKOUT, "HEAD", "1.2.3", tmp_path)


def test_a_version_without_its_image_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for tool in ("git", "tar", "docker"):  # A client without an engine builds nothing, and is not asked.
        if (found := shutil.which(tool)) is not None:
            (tmp_path / tool).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(inventory, "read_inventory", lambda *_: Inventory({"components": []}, {}))

    done = CliRunner().invoke(app, ["release", "--to", str(tmp_path / "new")])

    assert done.exit_code == 1
    assert "! l'image n'est pas construite : buildah manque (apt-get install buildah)" in done.output
    assert "rien n'est écrit" in done.output
    assert not (tmp_path / "new").exists()


@dataclass
class Built:
    """A container as buildah mounts it; `owned`: the programs that a package of Debian's brought."""

    root: Path
    executable: str
    owned: tuple[str, ...] = ()
    container: tuple[str, ...] = ("built",)

    def __call__(self, *_: str) -> str:
        return str(self.root)

    def inside(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        said = {"executable": self.executable, "version": "3.13.1", "stdlib": "/usr/local/lib/python3.13"}
        match argv:
            case ("dpkg-query", "-W", *_):
                return subprocess.CompletedProcess(argv, 0, "apt 3.0.3 amd64 installed\n")
            case ("dpkg-query", "-S", path):
                return subprocess.CompletedProcess(argv, 0 if path in self.owned else 1, "")
            case _:
                assert argv[0] == INTERPRETER
                return subprocess.CompletedProcess(argv, 0, json.dumps({**said, "installed": {"numpy": "2.5.5"}}))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What a base of Python's own has."""
    info = tmp_path / "usr/local/lib/python3.13/site-packages/pip-25.3.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: pip\nVersion: 25.3\nLicense-Expression: MIT\n")
    (info / "RECORD").write_text("pip-25.3.dist-info/licenses/LICENSE.txt,,\n")
    (info / "licenses").mkdir()
    (info / "licenses" / "LICENSE.txt").write_text("Permission of pip")
    (tmp_path / "usr/local/lib/python3.13/LICENSE.txt").write_text("PSF LICENSE AGREEMENT")
    copyright_file = tmp_path / "usr/share/doc/apt/copyright"
    copyright_file.parent.mkdir(parents=True)
    copyright_file.write_text("Apt's own")
    return tmp_path


def test_python_of_no_package_of_debian_s_is_a_component_with_its_licence(root: Path) -> None:
    found, installed = look_inside(Built(root, "/usr/local/bin/python3.13"), "1.2.3", "sha256:00")  # type: ignore[arg-type]

    image, *others = found.bom["components"]
    assert [one["name"] for one in image["components"]] == ["apt"]
    assert [(one["name"], one["version"], one["licenses"][0]["expression"]) for one in others] == [
        ("CPython", "3.13.1", "Python-2.0"),
        ("pip", "25.3", "MIT"),
    ]
    assert found.texts.items() >= {"CPython": ["PSF LICENSE AGREEMENT"], "pip": ["Permission of pip"]}.items()
    assert installed == {"numpy": "2.5.5"}


def test_python_of_debian_s_is_among_its_packages(root: Path) -> None:
    built = Built(root, "/usr/bin/python3.13", owned=("/usr/bin/python3.13",))

    found, _ = look_inside(built, "1.2.3", "sha256:00")  # type: ignore[arg-type]

    assert [one["type"] for one in found.bom["components"]] == ["container"]
