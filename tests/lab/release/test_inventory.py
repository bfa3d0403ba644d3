import json
import os
import re
import subprocess
import zipfile
from hashlib import sha256
from importlib.metadata import files, metadata
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from lab.commands.release import changes_of
from lab.release import wheel
from lab.release.images import read_images
from lab.release.inventory import LICENCES as LICENCES_FILE
from lab.release.inventory import (
    LOCKS,
    Inventory,
    Licences,
    completed,
    debian_components,
    debian_inventory,
    debian_texts,
    given_texts,
    image_python,
    missing_texts,
    not_listed,
    npm_components,
    npm_texts,
    problems,
    python_inventory,
    read_bundled,
    third_party_text,
)
from tests.rooms import CHECKOUT

LICENCES = Licences(frozenset({"MIT", "BSD-3-Clause", "Apache-2.0"}), {"silent": "MIT"})
EMPTY = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": {}, "components": []}


def component(name: str, *identifiers: str, expression: str | None = None):
    said = [{"license": {"id": one}} for one in identifiers] or (
        [{"expression": expression}] if expression else []
    )
    return {"type": "library", "name": name, "version": "1.0", "bom-ref": name, "licenses": said}


@pytest.mark.parametrize(
    ("shipped", "why"),
    [
        (component("fine", "MIT"), None),
        (component("both", expression="GPL-3.0-only OR BSD-3-Clause"), None),
        (component("all", expression="Apache-2.0 AND MIT"), None),
        (component("taints", expression="Apache-2.0 AND GPL-3.0-only"), "n'est pas acceptée"),
        (component("nested", expression="(GPL-3.0-only OR MIT) AND Apache-2.0"), None),
        (component("copyleft", "GPL-3.0-only"), "GPL-3.0-only n'est pas acceptée"),
        (component("made up", expression="Free for all"), "n'est pas une licence SPDX"),
        (component("unknown"), "aucune licence connue"),
        (component("silent"), None),
    ],
)
def test_a_component_is_shipped_under_an_allowed_licence_or_not_at_all(shipped, why: str | None) -> None:
    bom = completed({**EMPTY, "components": [shipped]}, (), LICENCES, "1.2.3")

    found = problems(Inventory(bom, {}), LICENCES)

    assert [why in line for line in found] == ([] if why is None else [True])


def test_the_document_is_cyclonedx_and_names_the_console_s_libraries_and_debian_s_packages() -> None:
    licences = Licences.read(CHECKOUT / "deploy" / "licences.toml")
    debian = debian_inventory(("bash",), {"bash": "MIT"})
    bom = completed(EMPTY, [*npm_components(CHECKOUT), *debian.bom["components"]], licences, "1.2.3")

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bom)) is None
    names = {one["name"]: one["purl"] for one in bom["components"]}
    assert {"leaflet", "uplot", "htmx.org", "bootstrap-icons", "bash"} <= names.keys()
    assert names["leaflet"] == "pkg:npm/leaflet@1.9.4"
    assert names["bash"].startswith("pkg:deb/debian/bash@")
    assert problems(Inventory(bom, {}), licences) == []


def test_debian_s_packages_are_there_with_their_texts_or_missed_by_their_names() -> None:
    debian = debian_inventory(("bash", "not-there"), {"bash": "MIT"})
    text = third_party_text(debian.bom, debian.texts)

    [missed] = problems(debian, LICENCES)
    assert missed.startswith("not-there n'est pas installé ici")
    assert Path("/usr/share/doc/bash/copyright").read_text("utf-8").strip() in text
    # Debian's file refers to the text of the GPL, which whoever receives ours may not have.
    assert "/usr/share/common-licenses/GPL-3" in debian.texts["bash"][0]
    assert Path("/usr/share/common-licenses/GPL-3").read_text("utf-8").strip() in text


def test_a_package_whose_licence_was_left_out_is_missed(tmp_path: Path) -> None:
    texts, lacks = debian_texts(tmp_path, ["bash"])

    assert texts == {}
    assert lacks == [f"bash : {tmp_path}/usr/share/doc/bash/copyright manque, où Debian dit sa licence"]


def test_what_the_image_holds_is_named_inside_it_and_is_debian_s_choice() -> None:
    packages = debian_components("apt 3.0.3 amd64 installed\ngone 1.0 all config-files\n")
    image = {"type": "container", "name": "image", "version": "1.2.3", "bom-ref": "image", "components": packages}
    bom = completed({**EMPTY, "components": [image]}, (), LICENCES, "1.2.3")

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bom)) is None
    assert [one["purl"] for one in packages] == ["pkg:deb/debian/apt@3.0.3?arch=amd64"]
    assert problems(Inventory(bom, {}), LICENCES) == []
    assert "apt 3.0.3 : voir ci-dessous\n\nApt's own" in third_party_text(bom, {"apt": ["Apt's own"]})


def test_what_lies_in_the_repository_and_is_not_ours_is_named_with_its_licence() -> None:
    bundled = read_bundled(CHECKOUT)
    vendored = CHECKOUT / "decoders" / "javascript" / "vendored"

    assert {folder.name for folder in vendored.iterdir()} <= bundled.texts.keys()
    assert all("Copyright" in text for [text] in bundled.texts.values())
    assert problems(bundled, Licences.read(CHECKOUT / LICENCES_FILE)) == []
    [messages] = [one for one in bundled.bom["components"] if one["name"] == "chirpstack-api"]
    assert f"chirpstack-api=={messages['version']} " in (CHECKOUT / "requirements-dev.lock").read_text("utf-8")


def test_what_each_variant_of_the_image_installs_is_looked_at() -> None:
    """The Containerfile asks for these files, and for no other."""
    containerfile = (CHECKOUT / "deploy" / "Containerfile").read_text("utf-8")

    assert set(LOCKS) == set(re.findall(r"-r (requirements[\w-]*\.lock)", containerfile))


def wheel_of(folder: Path, version: str) -> str:
    """A wheel of nothing, as a lock names it: without its marker and its hash, behind no index."""
    name, info = f"own-{version}-py3-none-any.whl", f"own-{version}.dist-info"
    with zipfile.ZipFile(folder / name, "w") as built:
        built.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.4\nName: own\nVersion: {version}\nLicense-Expression: MIT\n"
        )
        built.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        built.writestr(f"{info}/licenses/LICENSE", f"Permission of {version}")
        built.writestr(f"{info}/RECORD", "")
    return f"own @ file://{folder / name}"


def hash_of(wheel: str) -> str:
    return f"--hash=sha256:{sha256(Path(wheel.removeprefix('own @ file://')).read_bytes()).hexdigest()}"


@pytest.mark.parametrize(("python", "version"), [("3.11", "2.4.6"), ("3.13", "2.5.5")])
def test_what_is_listed_is_what_the_image_s_python_installs_whichever_runs_this(
    tmp_path: Path, python: str, version: str
) -> None:
    before, after = wheel_of(tmp_path, "2.4.6"), wheel_of(tmp_path, "2.5.5")
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        f"{before} ; python_full_version < '3.12' {hash_of(before)}\n"
        f"{after} ; python_full_version >= '3.12' {hash_of(after)}\n"
    )

    found = python_inventory([lock], CHECKOUT / ".tools" / "bin" / "uv", python, os.environ)

    assert [(one["name"], one["version"]) for one in found.bom["components"]] == [("own", version)]
    assert found.texts == {"own": [f"Permission of {version}"]}


def test_the_image_s_python_is_its_base_s() -> None:
    base = read_images(CHECKOUT)["python"].image

    assert f"python:{image_python(CHECKOUT)}-" in base


def test_what_an_image_has_and_the_inventory_has_not_is_told() -> None:
    bom = {**EMPTY, "components": [component("Jinja2", "MIT"), component("numpy", "MIT")]}

    assert not_listed(bom, {"jinja2": "1.0", "numpy": "2.5.5"}) == [
        "numpy 2.5.5 est dans l'image, et pas dans l'inventaire"
    ]


def shipped(name: str, expression: str, purl: str = "pkg:pypi/one@1.0") -> dict[str, Any]:
    return {**component(name, expression=expression), "purl": purl}


@pytest.mark.parametrize(
    ("one", "texts", "is_missed"),
    [
        (shipped("silent", "MIT"), {}, True),
        (shipped("empty", "MIT"), {"empty": []}, True),
        (shipped("fine", "MIT"), {"fine": ["Permission is hereby granted"]}, False),
        (shipped("either", "MIT OR 0BSD"), {}, False),
        (shipped("both", "MIT AND 0BSD"), {}, True),
        (shipped("unclear", "Free for all"), {}, True),
        (shipped("apart", "GPL-2.0-only", "pkg:deb/debian/apart@1"), {}, False),
    ],
)
def test_a_licence_that_asks_for_its_text_comes_with_it_or_is_missed(one, texts, is_missed: bool) -> None:
    licences = Licences(frozenset({"MIT", "0BSD"}), {}, frozenset({"0BSD"}))

    found = missing_texts({**EMPTY, "components": [one]}, texts, licences)

    assert bool(found) == is_missed
    assert all(line.startswith(f"{one['name']} 1.0 : sa licence demande son texte") for line in found)


def test_what_brings_no_text_has_one_of_ours_with_who_holds_the_copyright() -> None:
    [webhooks] = given_texts(CHECKOUT)["standardwebhooks"]
    [messages] = read_bundled(CHECKOUT).texts["chirpstack-api"]

    for text, holder in ((webhooks, "Standard Webhooks Team"), (messages, "Orne Brocaar")):
        assert f"Copyright (c) {holder}" in text
        assert "Permission is hereby granted, free of charge" in text
        assert "this permission notice" in text
    for name, text in (("standardwebhooks", webhooks), ("chirpstack-api", messages)):
        assert metadata(name)["Author"] in text
        assert not any("licen" in file.name.lower() for file in files(name) or ())


def test_what_the_repository_and_the_console_bring_has_its_texts() -> None:
    licences = Licences.read(CHECKOUT / LICENCES_FILE)
    bundled, npm = read_bundled(CHECKOUT), npm_components(CHECKOUT)
    bom = completed(EMPTY, [*bundled.bom["components"], *npm], licences, "1.2.3")

    assert missing_texts(bom, {**bundled.texts, **npm_texts(CHECKOUT)}, licences) == []


def test_whoever_receives_it_reads_every_licence() -> None:
    bom = {**EMPTY, "components": [component("zeta", "MIT"), component("Alpha", "BSD-3-Clause")]}

    text = third_party_text(bom, {"zeta": ["Permission is hereby granted"]})

    assert text.index("Alpha 1.0 : BSD-3-Clause") < text.index("zeta 1.0 : MIT") < text.index("Permission")


def test_notes_are_the_part_of_a_dated_version() -> None:
    changelog = (
        "# Changelog\n\n## Unreleased\n\n- C\n\n## 1.1.0 (2026-12-01)\n\n- B\n\n## 1.0.0 (2026-11-01)\n\n- A\n"
    )

    assert changes_of("1.1.0", changelog) == "- B\n"
    assert changes_of("1.0.0", changelog) == "- A\n"
    assert changes_of("1.2.0", changelog) is None
    assert changes_of("1.1.0", changelog.replace(" (2026-12-01)", "")) is None


@pytest.fixture
def commit(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "own").mkdir(parents=True)
    (folder / "own" / "__init__.py").write_text("", "utf-8")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "own"\nversion = "1.0"\n',
        "utf-8",
    )
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "own: Begin")):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.fr", *words], cwd=folder, check=True)
    (folder / wheel.BROUGHT).mkdir(parents=True)
    return folder


def test_two_builds_of_a_commit_are_the_same_and_what_is_not_committed_is_in_none(
    commit: Path, tmp_path: Path
) -> None:
    (commit / "own" / "later.py").write_text("", "utf-8")

    built = wheel.build_wheel_twice(commit, "HEAD", tmp_path)

    assert built.name.startswith("own-1.0-py")
    assert b"later.py" not in built.read_bytes()


def test_a_build_that_is_another_each_time_is_refused(
    commit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing = "import pathlib, uuid; pathlib.Path('own/drawn.py').write_text(uuid.uuid4().hex); "
    monkeypatch.setattr(wheel, "BUILD", drawing + wheel.BUILD)

    with pytest.raises(wheel.BuildsDiffer):
        wheel.build_wheel_twice(commit, "HEAD", tmp_path)
    assert list(tmp_path.glob("*.whl")) == []
