from pathlib import Path

import pytest

from lab.release.buildah import NotBuilt
from lab.release.image import build_image
from tests.rooms import CHECKOUT


def test_without_anything_to_build_with_there_is_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(NotBuilt, match=r"^buildah manque \(apt-get install buildah\)$"):
        build_image(CHECKOUT, "HEAD", "1.2.3", tmp_path)
