import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lab.app import app
from lab.release import inventory
from lab.release.buildah import NotBuilt
from lab.release.image import build_image
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
