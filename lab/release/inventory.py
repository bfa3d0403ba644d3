# pyright: reportMissingTypeStubs=false
"""What comes along with a release, and its licences: Python's distributions, the console's libraries, Debian's."""

import json
import re
import runpy
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from license_expression import ExpressionError, get_spdx_licensing

# The second is of the image's variant that writes Parquet.
LOCKS = ("requirements.lock", "requirements-parquet.lock")
LICENCES, CONTAINERFILE = Path("deploy/licences.toml"), Path("deploy/Containerfile")
IMAGE_PYTHON = re.compile(r"^ARG BASE=python:(\d+\.\d+)", re.MULTILINE)
NPM_LOCK, NPM_BROUGHT = Path("api/console/package-lock.json"), Path("api/console/libraries")
LICENCE_FILE = re.compile(r"^(licen[cs]e|copying|notice|authors)", re.IGNORECASE)
IS_LICENCE = re.compile(r"^(licen[cs]e|copying)", re.IGNORECASE)
DPKG_QUERY = ("-W", "-f", "${Package} ${Version} ${Architecture} ${db:Status-Status}\\n")
COMMON_LICENCE = re.compile(r"(?<=/)usr/share/common-licenses/[A-Za-z][\w.-]*\w")
LINE = "=" * 80
SPDX: Any = get_spdx_licensing()


@dataclass(frozen=True, slots=True)
class Licences:
    """`allowed`: SPDX identifiers. `stated`: by component, where its own metadata name none; read in its files.

    `without_text`: those that do not ask for their text to come along.
    """

    allowed: frozenset[str]
    stated: Mapping[str, str]
    without_text: frozenset[str] = frozenset()

    @classmethod
    def read(cls, file: Path) -> "Licences":
        """From deploy/licences.toml."""
        said = tomllib.loads(file.read_text("utf-8"))
        return cls(frozenset(said["allowed"]), said["stated"], frozenset(said["without_text"]))

    def problem(self, component: Mapping[str, Any]) -> str | None:
        """Why this component of an SBOM may not be shipped; None: it may.

        Of "A OR B" one is enough, of "A AND B" both have to be allowed.
        """
        expression = expression_of(component)
        if expression is None:
            return "aucune licence connue : lisez ses fichiers et ajoutez-la à deploy/licences.toml"
        try:
            parsed: Any = SPDX.parse(expression, validate=True)
        except ExpressionError:
            return f"« {expression} » n'est pas une licence SPDX"
        return None if _is_among(parsed, self.allowed) else f"{expression} n'est pas acceptée"

    def asks_for_its_text(self, component: Mapping[str, Any]) -> bool:
        """Whether its licence may only be kept with its text beside it; what is not understood asks for it."""
        try:
            return not _is_among(SPDX.parse(expression_of(component) or ""), self.without_text)
        except ExpressionError:
            return True


def _is_among(parsed: Any, identifiers: frozenset[str]) -> bool:
    """Whether these are enough for an expression."""
    if parsed is None:
        return False
    known = {symbol: SPDX.TRUE if symbol.key in identifiers else SPDX.FALSE for symbol in parsed.symbols}
    return parsed.subs(known).simplify() == SPDX.TRUE


def expression_of(component: Mapping[str, Any]) -> str | None:
    """The licence of a component as an SPDX expression, where it says so."""
    said = component.get("licenses", [])
    expressions = [one["expression"] for one in said if "expression" in one]
    identifiers = [one["license"]["id"] for one in said if "id" in one.get("license", {})]
    return (expressions or [" AND ".join(dict.fromkeys(identifiers)) or None])[0]


@dataclass(frozen=True, slots=True)
class Inventory:
    """A CycloneDX document, the licence texts of its components by their names, and in French what it lacks."""

    bom: dict[str, Any]
    texts: dict[str, list[str]]
    lacks: tuple[str, ...] = ()


def image_python(checkout: Path) -> str:
    """The version of Python that the image has, without its patch: a lock installs others under another."""
    found = IMAGE_PYTHON.search((checkout / CONTAINERFILE).read_text("utf-8"))
    assert found is not None, CONTAINERFILE
    return found[1]


def python_inventory(
    locks: Sequence[Path], uv: Path, python_version: str, environment: Mapping[str, str]
) -> Inventory:
    """What these locks install under this version of Python, looked at where it is unpacked, and never run.

    `environment` says where uv finds it.
    """
    with tempfile.TemporaryDirectory(prefix="territoire-sbom-") as folder:
        place = Path(folder, "venv")
        python = place / "bin" / "python"
        _run(uv, "venv", "--quiet", "--python", sys.executable, place, environment=environment)
        wanted = ("--require-hashes", "--only-binary", ":all:", "--python-version", python_version)
        _run(uv, "pip", "sync", "--quiet", *wanted, "--python", python, *locks, environment=environment)
        generator = Path(sys.executable).with_name("cyclonedx-py")
        options = (
            "--output-reproducible",
            "--spec-version",
            "1.6",
            "--output-format",
            "JSON",
            "--output-file",
            "-",
        )
        bom = json.loads(_run(generator, "environment", *options, python))
        [site] = place.glob("lib/python3.*/site-packages")
        return Inventory(bom, {one.name: list(_texts_of(one)) for one in distributions(path=[str(site)])})


def read_inventory(
    checkout: Path, servers: Iterable[str], licences: Licences, version: str, image: Inventory | None = None
) -> Inventory:
    """All that comes along with this version; `servers`: Debian's packages that one server runs beside us."""
    parts = [
        python_inventory(
            [checkout / lock for lock in LOCKS],
            checkout / ".tools" / "bin" / "uv",
            image_python(checkout),
            # uv does not read pip's configuration; the program that installs everything else hands it over.
            runpy.run_path(str(checkout / "territoire"), run_name="territoire")["uv_environment"](),
        ),
        Inventory({"components": npm_components(checkout)}, npm_texts(checkout)),
        debian_inventory(servers, licences.stated),
        read_bundled(checkout),
        *([] if image is None else [image]),
    ]
    more = [component for part in parts[1:] for component in part.bom["components"]]
    brought = {name: texts for part in reversed(parts) for name, texts in part.texts.items() if texts}
    bom, texts = completed(parts[0].bom, more, licences, version), {**given_texts(checkout), **brought}
    lacks = tuple(lack for part in parts for lack in part.lacks)
    return Inventory(bom, texts, (*lacks, *missing_texts(bom, texts, licences)))


def given_texts(checkout: Path) -> dict[str, list[str]]:
    """Ours, of what brings none."""
    said = tomllib.loads((checkout / LICENCES).read_text("utf-8"))["texts"]
    return {name: [(checkout / file).read_text("utf-8")] for name, file in said.items()}


def missing_texts(bom: Mapping[str, Any], texts: Mapping[str, Sequence[str]], licences: Licences) -> list[str]:
    """In French: components whose licence asks for its text, and that have none. Debian's are looked for apart."""
    return [
        f"{one['name']} {one['version']} : sa licence demande son texte, et rien ne l'apporte : mettez-le dans "
        f"{LICENCES.with_suffix('')}/, et son nom dans {LICENCES}"
        for one in bom["components"]
        if one["type"] != "container" and not one.get("purl", "").startswith("pkg:deb/")
        if not texts.get(one["name"]) and licences.asks_for_its_text(one)
    ]


def read_bundled(checkout: Path) -> Inventory:
    """What others have written and lies in the repository, as deploy/licences.toml says."""
    said = tomllib.loads((checkout / LICENCES).read_text("utf-8"))["bundled"]
    components = [_component(one["name"], one["version"], one["purl"], one["licence"]) for one in said]
    texts = {one["name"]: [(checkout / one["text"]).read_text("utf-8")] for one in said if "text" in one}
    return Inventory({"components": components}, texts)


def _texts_of(distribution: Distribution) -> Iterator[str]:
    files = [
        file
        for file in distribution.files or ()
        if ".dist-info" in file.parts[0] and LICENCE_FILE.match(file.name)
    ]
    # Authors and notices alone are no licence.
    if any(IS_LICENCE.match(file.name) for file in files):
        yield from (file.read_text("utf-8") for file in files)


def interpreter_inventory(root: Path, stdlib: str, version: str) -> Inventory:
    """CPython that a base of Python's own has in `root`, which no package manager names, and what came with it."""
    folder = root / stdlib.lstrip("/")
    components = [_component("CPython", version, f"pkg:generic/cpython@{version}", "Python-2.0")]
    text = folder / "LICENSE.txt"
    texts = {"CPython": [text.read_text("utf-8")] if text.is_file() else []}
    for one in distributions(path=[str(folder / "site-packages")]):
        said: Any = one.metadata
        licence: str | None = said.get("License-Expression") or said.get("License")
        components.append(_component(one.name, one.version, f"pkg:pypi/{one.name}@{one.version}", licence))
        texts[one.name] = list(_texts_of(one))
    return Inventory({"components": components}, texts)


def not_listed(bom: Mapping[str, Any], installed: Mapping[str, str]) -> list[str]:
    """In French: what an image has installed, by name and version, and this inventory has not."""
    listed = {(_normal(one["name"]), one["version"]) for one in bom["components"]}
    return [
        f"{name} {version} est dans l'image, et pas dans l'inventaire"
        for name, version in sorted(installed.items())
        if (_normal(name), version) not in listed
    ]


def _normal(name: str) -> str:
    """As PEP 503 compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def npm_components(checkout: Path) -> list[dict[str, Any]]:
    """The console's libraries, as their lock has them."""
    packages = json.loads((checkout / NPM_LOCK).read_text("utf-8"))["packages"]
    return [
        _component(name, package["version"], f"pkg:npm/{name}@{package['version']}", package.get("license"))
        for place, package in packages.items()
        if (name := place.rpartition("node_modules/")[2])
    ]


def npm_texts(checkout: Path) -> dict[str, list[str]]:
    """Their licences, which lie beside them."""
    suffix = ".LICENSE"
    files = (checkout / NPM_BROUGHT).glob(f"*{suffix}")
    return {file.name.removesuffix(suffix): [file.read_text("utf-8")] for file in files}


def debian_inventory(names: Iterable[str], stated: Mapping[str, str]) -> Inventory:
    """Debian's packages of these names, as this machine has them: what one server runs beside us."""
    wanted = list(names)
    done = subprocess.run(["dpkg-query", *DPKG_QUERY, *wanted], capture_output=True, text=True, check=False)
    components = [{**one, **_licensed(stated.get(one["name"]))} for one in debian_components(done.stdout)]
    absent = sorted(set(wanted) - {one["name"] for one in components})
    texts, lacks = debian_texts(Path("/"), [one["name"] for one in components])
    gone = [f"{name} n'est pas installé ici : sa version et sa licence ne peuvent être lues" for name in absent]
    return Inventory({"components": components}, texts, (*gone, *lacks))


def debian_components(said: str) -> list[dict[str, Any]]:
    """The packages that dpkg-query names as installed, asked by DPKG_QUERY."""
    found: list[dict[str, Any]] = []
    for line in said.splitlines():
        name, version, architecture, status = line.split(" ")
        if status == "installed":
            found.append(_component(name, version, f"pkg:deb/debian/{name}@{version}?arch={architecture}", None))
    return found


def debian_texts(root: Path, names: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
    """What Debian says of the licences of these packages, below `root`; and what is not there, in French.

    Each text that one of them refers to is there, too, once, under its own name.
    """
    texts: dict[str, list[str]] = {}
    lacks: list[str] = []
    for name in names:
        file = root / "usr/share/doc" / name / "copyright"
        try:
            texts[name] = [file.read_text("utf-8", errors="replace")]
        except OSError:
            lacks.append(f"{name} : {file} manque, où Debian dit sa licence")
    for common in sorted({found for [text] in texts.values() for found in COMMON_LICENCE.findall(text)}):
        file = root / common
        if file.is_file():
            texts[f"/{common}"] = [file.read_text("utf-8", errors="replace")]
    return texts, lacks


def completed(
    bom: Mapping[str, Any], more: Sequence[dict[str, Any]], licences: Licences, version: str
) -> dict[str, Any]:
    """The document with these components too, what is stated of their licences, and what it is about."""
    components = [
        {**one, "licenses": _declared(licences.stated[one["name"]])} if one["name"] in licences.stated else one
        for one in (*bom["components"], *more)
    ]
    subject = {
        "type": "application",
        "name": "territoire",
        "version": version,
        "bom-ref": f"territoire=={version}",
    }
    metadata = {**bom["metadata"], "component": {**subject, "licenses": _declared("EUPL-1.2")}}
    return {**bom, "metadata": metadata, "components": components}


def problems(inventory: Inventory, licences: Licences) -> list[str]:
    """One line for each component that may not be shipped, or could not be looked at.

    What is inside the image's base is Debian's choice (its section "main"), and named with its texts.
    """
    shipped = [one for one in inventory.bom["components"] if one["type"] != "container"]
    found = ((one, licences.problem(one)) for one in shipped)
    return [
        *inventory.lacks,
        *(f"{one['name']} {one['version']} : {why}" for one, why in found if why is not None),
    ]


def third_party_text(bom: Mapping[str, Any], texts: Mapping[str, Sequence[str]]) -> str:
    """The licences of everything that comes along, with their texts, for who receives it."""
    parts = ["Territoire est distribué avec les logiciels suivants, chacun sous sa licence."]
    inside = [inner for one in bom["components"] for inner in one.get("components", ())]
    for component in sorted([*bom["components"], *inside], key=lambda one: one["name"].lower()):
        stated = expression_of(component) or "voir ci-dessous"
        parts.append(f"{LINE}\n{component['name']} {component['version']} : {stated}")
        parts += [text.strip() for text in texts.get(component["name"], ())]
    for name in sorted(name for name in texts if name.startswith("/")):
        parts += [f"{LINE}\n{name}", *(text.strip() for text in texts[name])]
    return "\n\n".join(parts) + "\n"


def _component(name: str, version: str, purl: str, licence: str | None) -> dict[str, Any]:
    named = {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}
    return {**named, **_licensed(licence)}


def _licensed(licence: str | None) -> dict[str, Any]:
    return {"licenses": [] if licence is None else _declared(licence)}


def _declared(expression: str) -> list[dict[str, Any]]:
    return [{"expression": expression, "acknowledgement": "declared"}]


def _run(*argv: "str | Path", environment: Mapping[str, str] | None = None) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True, env=environment).stdout
