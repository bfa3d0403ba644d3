import re
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from lab.app import app
from lab.release.images import (
    FILE,
    MalformedImages,
    places,
    problems,
    read_images,
    unpinned,
    write_digests,
)

CHECKOUT = Path(__file__).resolve().parents[3]
DIGEST = "sha256:" + "0123456789abcdef" * 4
OTHER = "sha256:" + "f" * 64
# Found by another way than the program's: whatever stands after these words.
AFTER = re.compile(r"(?:image|imageName|ARG BASE)\s*[:=]\s*(?:\$\{\w+:-)?([^\s}]+)")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of what names images."""
    for folder in ("deploy", "k8s"):
        shutil.copytree(CHECKOUT / folder, tmp_path / folder)
    return tmp_path


def known_everywhere(root: Path) -> None:
    """As after somebody has looked all of them up; no digest is any image's."""
    file = root / FILE
    file.write_text(file.read_text("utf-8").replace('"unknown"', f'"{DIGEST}"'), "utf-8")


def test_every_line_that_names_an_image_is_found() -> None:
    files = [
        *(CHECKOUT / "deploy").glob("*Containerfile"),
        CHECKOUT / "deploy" / "compose.yaml",
        *(CHECKOUT / "k8s").rglob("*.yaml"),
    ]
    lines = [
        line
        for file in files
        for line in file.read_text("utf-8").splitlines()
        if not line.lstrip().startswith("#")
    ]
    expected = sorted(found[1] for line in lines if (found := AFTER.search(line)))

    assert (
        sorted(place.image + (f"@{place.digest}" if place.digest else "") for place in places(CHECKOUT))
        == expected
    )
    assert len(expected) > 10


def test_our_files_name_what_the_file_of_images_says() -> None:
    """Only what nobody has looked up yet may be missing; that keeps a release back."""
    left = [problem for problem in problems(CHECKOUT) if "est inconnue" not in problem]
    unknown = [image for image in read_images(CHECKOUT).values() if image.digest is None and image.made_by is None]

    assert left == []
    assert len(problems(CHECKOUT)) == len(unknown)


def test_a_digest_that_is_unknown_is_named_and_one_that_is_written_ends_it(root: Path) -> None:
    assert {"python:3.13-slim-trixie", "nats:2.10.29-alpine"} <= {
        words for problem in problems(root) for words in problem.split() if ":" in words
    }

    known_everywhere(root)
    changed = write_digests(root)

    assert problems(root) == []
    assert {str(file) for file in changed} >= {
        "deploy/Containerfile",
        "deploy/compose.yaml",
        "k8s/components/mosquitto/mosquitto.yaml",
    }
    assert write_digests(root) == []
    compose = yaml.safe_load((root / "deploy" / "compose.yaml").read_text("utf-8"))["services"]
    assert compose["database"]["image"] == f"${{DATABASE_IMAGE:-timescale/timescaledb:2.19.3-pg17-oss@{DIGEST}}}"
    assert compose["api"]["image"].startswith("territoire:")


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("nats:2.10.29-alpine", "nats:2.10.30-alpine", "nats:2.10.30-alpine n'est pas comme"),
        (
            "eclipse-mosquitto:2.0.22",
            f"eclipse-mosquitto:2.0.22@{OTHER}",
            "eclipse-mosquitto:2.0.22 n'est pas comme",
        ),
        ("nats:2.10.29-alpine", "valkey:8", "valkey:8 n'est pas comme"),
    ],
)
def test_a_file_that_names_another_image_is_found(root: Path, before: str, after: str, problem: str) -> None:
    known_everywhere(root)
    file = root / "deploy" / "compose.yaml"
    write_digests(root)
    file.write_text(re.sub(rf"{re.escape(before)}(@sha256:\w+)?", after, file.read_text("utf-8")), "utf-8")

    assert [problem in found for found in problems(root)] == [True]


def test_an_image_that_no_file_names_any_more_is_found(root: Path) -> None:
    known_everywhere(root)
    write_digests(root)
    with (root / FILE).open("a", encoding="utf-8") as file:
        file.write(f'[former]\nimage = "emqx:5"\ndigest = "{DIGEST}"\n')

    assert problems(root) == [f"{FILE} : aucun fichier ne nomme emqx:5"]


@pytest.mark.parametrize("digest", ["sha256:0123", "latest", DIGEST.upper()])
def test_what_is_no_digest_is_not_taken_for_one(root: Path, digest: str) -> None:
    (root / FILE).write_text(f'[nats]\nimage = "nats:2"\ndigest = "{digest}"\n', "utf-8")

    with pytest.raises(MalformedImages, match="n'est pas une empreinte"):
        read_images(root)


def test_an_overlay_for_production_is_refused_until_each_image_has_its_digest(root: Path) -> None:
    production = root / "k8s" / "overlays" / "production"
    command = ["images", "--overlay", str(production)]

    before = CliRunner().invoke(app, command)
    known_everywhere(root)
    write_digests(root)
    with (production / "kustomization.yaml").open("a", encoding="utf-8") as file:
        file.write(
            "  - target: {kind: Cluster, name: database}\n    patch: |\n"
            f"      - {{op: replace, path: /spec/imageName, value: 'registre.example/postgresql@{DIGEST}'}}\n"
        )
    theirs = CliRunner().invoke(app, command)
    file = production / "kustomization.yaml"
    file.write_text(file.read_text("utf-8").replace("newTag: 0.1.0", f'digest: "{DIGEST}"'), "utf-8")
    after = CliRunner().invoke(app, command)

    assert before.exit_code == 1
    for name in (
        "nats:2.10.29-alpine",
        "eclipse-mosquitto:2.0.22",
        "postgresql-timescaledb:17.11",
        "territoire:0.1.0",
    ):
        assert f"{name}" in before.output
    assert (theirs.exit_code, theirs.output.count("✗"), "territoire:0.1.0" in theirs.output) == (1, 1, True)
    assert (after.exit_code, after.output.count("✗")) == (0, 0), after.output


def test_images_are_found_however_deep_they_stand() -> None:
    pod = {"spec": {"initContainers": [{"image": "a:1"}], "containers": [{"image": f"b:1@{DIGEST}"}]}}

    assert unpinned([{"spec": {"template": pod}}, {"spec": {"imageName": "c:1"}}]) == ["a:1", "c:1"]
