"""The last release, as deploy/releases.toml names it: an ancestor of what is checked out, in this repository."""

import re
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path("deploy/releases.toml")
FIELDS = {"version", "commit"}
# A title of the changelog on what was published, the newest first.
DATED = re.compile(r"^## (\d+\.\d+\.\d+) \(\d{4}-\d{2}-\d{2}\)$", re.MULTILINE)


class UnusableRelease(Exception):
    """deploy/releases.toml does not name a release that can be played. The message says in French why."""


@dataclass(frozen=True, slots=True)
class Release:
    """A version that was published, and the commit that it was made of."""

    version: str
    commit: str

    @property
    def entry(self) -> str:
        """As the file has it."""
        return f'[last]\nversion = "{self.version}"\ncommit = "{self.commit}"\n'


def last_release(checkout: Path) -> Release | None:
    """What the file of this checkout names; None: nothing was released yet.

    Raises:
        UnusableRelease: the file is missing or malformed, or its commit cannot be played.
    """
    try:
        content = tomllib.loads((checkout / FILE).read_text("utf-8"))
    except FileNotFoundError:
        raise UnusableRelease(f"{FILE} manque : il nomme la dernière version publiée") from None
    except tomllib.TOMLDecodeError as malformed:
        raise UnusableRelease(f"{FILE} n'est pas du TOML : {malformed}") from None
    if not content:
        return None
    release = _read(content)
    _require_ancestor(checkout, release)
    _require_version(checkout, release)
    return release


def entry_problems(checkout: Path, version: str, changelog: str) -> list[str]:
    """Why `version` may not be published yet: what was published before it is not named, or cannot be played."""
    try:
        named = last_release(checkout)
    except UnusableRelease as unusable:
        return [str(unusable)]
    if named is not None and named.version == version:
        return [f"{FILE} dit que la {version} est déjà publiée : il en faut une autre"]
    before = next((one for one in DATED.findall(changelog) if one != version), None)
    if before != (named and named.version):
        said = named.version if named else "aucune"
        return [f"CHANGELOG.md dit que la version d'avant est {before or 'aucune'}, {FILE} : {said}"]
    return []


def _read(content: dict[str, Any]) -> Release:
    entry = content.get("last")
    if set(content) != {"last"} or not isinstance(entry, dict) or set(entry) != FIELDS:  # pyright: ignore[reportUnknownArgumentType]
        raise UnusableRelease(f"{FILE} : attendu [last] avec version et commit, et rien d'autre")
    version, commit = str(entry["version"]), str(entry["commit"])  # pyright: ignore[reportUnknownArgumentType]
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise UnusableRelease(f"{FILE} : version = {version!r} n'est pas de la forme 1.2.3")
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise UnusableRelease(f"{FILE} : commit = {commit!r} n'est pas une empreinte entière (40 chiffres)")
    return Release(version, commit)


def _require_ancestor(checkout: Path, release: Release) -> None:
    if _git(checkout, "cat-file", "-e", f"{release.commit}^{{commit}}").returncode != 0:
        is_shallow = _git(checkout, "rev-parse", "--is-shallow-repository").stdout.strip() == "true"
        mend = "git fetch --unshallow" if is_shallow else "vérifiez l'empreinte, ou git fetch"
        copy = "cette copie partielle" if is_shallow else "ce dépôt"
        raise UnusableRelease(f"le commit de la version {release.version} n'est pas dans {copy} : {mend}")
    if _git(checkout, "merge-base", "--is-ancestor", release.commit, "HEAD").returncode != 0:
        raise UnusableRelease(
            f"le commit de la version {release.version} n'est pas un ancêtre de HEAD : {release.commit}"
        )


def _require_version(checkout: Path, release: Release) -> None:
    read = _git(checkout, "show", f"{release.commit}:pyproject.toml")
    version = tomllib.loads(read.stdout).get("project", {}).get("version") if read.returncode == 0 else None
    if version != release.version:
        raise UnusableRelease(
            f"le commit {release.commit} est celui de la version {version}, pas {release.version}"
        )


def _git(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=checkout, capture_output=True, text=True, check=False)
