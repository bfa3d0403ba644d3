# pyright: reportMissingTypeStubs=false
"""What comes along with a release, and its licences: Python's distributions, the console's libraries, Debian's."""

import json
import re
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
LICENCES = Path("deploy/licences.toml")
NPM_LOCK, NPM_BROUGHT = Path("api/console/package-lock.json"), Path("api/console/libraries")
LICENCE_FILE = re.compile(r"^(licen[cs]e|copying|notice|authors)", re.IGNORECASE)
SPDX: Any = get_spdx_licensing()


@dataclass(frozen=True, slots=True)
class Licences:
    """`allowed`: SPDX identifiers. `stated`: by component, where its own metadata name none; read in its files."""

    allowed: frozenset[str]
    stated: Mapping[str, str]

    @classmethod
    def read(cls, file: Path) -> "Licences":
        """From deploy/licences.toml."""
        said = tomllib.loads(file.read_text("utf-8"))
        return cls(frozenset(said["allowed"]), said["stated"])

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
        allowed = {symbol: SPDX.TRUE if symbol.key in self.allowed else SPDX.FALSE for symbol in parsed.symbols}
        return None if parsed.subs(allowed).simplify() == SPDX.TRUE else f"{expression} n'est pas acceptée"


def expression_of(component: Mapping[str, Any]) -> str | None:
    """The licence of a component as an SPDX expression, where it says so."""
    said = component.get("licenses", [])
    expressions = [one["expression"] for one in said if "expression" in one]
    identifiers = [one["license"]["id"] for one in said if "id" in one.get("license", {})]
    return (expressions or [" AND ".join(dict.fromkeys(identifiers)) or None])[0]


@dataclass(frozen=True, slots=True)
class Inventory:
    """A CycloneDX document, and the licence texts of its components, by their names."""

    bom: dict[str, Any]
    texts: dict[str, list[str]]


def python_inventory(locks: Sequence[Path], uv: Path) -> Inventory:
    """What these locks install, looked at where it is installed."""
    with tempfile.TemporaryDirectory(prefix="territoire-sbom-") as folder:
        place = Path(folder, "venv")
        python = place / "bin" / "python"
        _run(uv, "venv", "--quiet", "--python", sys.executable, place)
        _run(uv, "pip", "sync", "--quiet", "--require-hashes", "--python", python, *locks)
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


def read_inventory(checkout: Path, servers: Iterable[str], licences: Licences, version: str) -> Inventory:
    """All that comes along with this version; `servers`: Debian's packages that one server runs beside us."""
    python = python_inventory([checkout / lock for lock in LOCKS], checkout / ".tools" / "bin" / "uv")
    bundled = read_bundled(checkout)
    more = [*npm_components(checkout), *debian_components(servers, licences.stated), *bundled.bom["components"]]
    texts = {**python.texts, **npm_texts(checkout), **bundled.texts}
    return Inventory(completed(python.bom, more, licences, version), texts)


def read_bundled(checkout: Path) -> Inventory:
    """What others have written and lies in the repository, as deploy/licences.toml says."""
    said = tomllib.loads((checkout / LICENCES).read_text("utf-8"))["bundled"]
    components = [_component(one["name"], one["version"], one["purl"], one["licence"]) for one in said]
    texts = {one["name"]: [(checkout / one["text"]).read_text("utf-8")] for one in said if "text" in one}
    return Inventory({"components": components}, texts)


def _texts_of(distribution: Distribution) -> Iterator[str]:
    for file in distribution.files or ():
        if ".dist-info" in file.parts[0] and LICENCE_FILE.match(file.name):
            yield file.read_text("utf-8")


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


def debian_components(names: Iterable[str], stated: Mapping[str, str]) -> list[dict[str, Any]]:
    """Debian's packages of these names that this machine has: what one server runs beside us."""
    form = "${Package} ${Version} ${Architecture} ${db:Status-Status}\n"
    done = subprocess.run(["dpkg-query", "-W", "-f", form, *names], capture_output=True, text=True, check=False)
    found: list[dict[str, Any]] = []
    for line in done.stdout.splitlines():
        name, version, architecture, status = line.split(" ")
        if status == "installed":
            purl = f"pkg:deb/debian/{name}@{version}?arch={architecture}"
            found.append(_component(name, version, purl, stated.get(name)))
    return found


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


def problems(bom: Mapping[str, Any], licences: Licences) -> list[str]:
    """One line for each component that may not be shipped."""
    found = ((one, licences.problem(one)) for one in bom["components"])
    return [f"{one['name']} {one['version']} : {why}" for one, why in found if why is not None]


def third_party_text(bom: Mapping[str, Any], texts: Mapping[str, Sequence[str]]) -> str:
    """The licences of everything that comes along, with their texts, for who receives it."""
    parts = ["Territoire est distribué avec les logiciels suivants, chacun sous sa licence."]
    for component in sorted(bom["components"], key=lambda one: one["name"].lower()):
        parts.append(f"{'=' * 80}\n{component['name']} {component['version']} : {expression_of(component)}")
        parts += [text.strip() for text in texts.get(component["name"], ())]
    return "\n\n".join(parts) + "\n"


def _component(name: str, version: str, purl: str, licence: str | None) -> dict[str, Any]:
    declared = [] if licence is None else _declared(licence)
    return {
        "type": "library",
        "name": name,
        "version": version,
        "purl": purl,
        "bom-ref": purl,
        "licenses": declared,
    }


def _declared(expression: str) -> list[dict[str, Any]]:
    return [{"expression": expression, "acknowledgement": "declared"}]


def _run(*argv: "str | Path") -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
