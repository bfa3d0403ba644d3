"""Asks OSV whether an advisory is known of a library that we lock; where it cannot be reached, says so."""

import re
from pathlib import Path

import httpx

from core.runtime.errors import describe

OSV = "https://api.osv.dev/v1/querybatch"
WITHIN_S = 10.0
LOCKS = ("requirements.lock", "requirements-dev.lock")
LOCKED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s\\;]+)", re.MULTILINE)


class Unreachable(Exception):
    """Nobody answered, or not what OSV answers: nothing was audited."""


def locked(checkout: Path) -> list[tuple[str, str]]:
    """Names and versions of every library that is locked."""
    files = [checkout / lock for lock in LOCKS if (checkout / lock).exists()]
    return sorted({pair for file in files for pair in LOCKED.findall(file.read_text("utf-8"))})


def ask(libraries: list[tuple[str, str]], transport: httpx.BaseTransport | None = None) -> list[str]:
    """One line for each library with advisories.

    Raises:
        Unreachable: OSV did not answer.
    """
    queries = [{"package": {"name": name, "ecosystem": "PyPI"}, "version": version} for name, version in libraries]
    try:
        with httpx.Client(transport=transport, timeout=WITHIN_S) as client:
            results = client.post(OSV, json={"queries": queries}).raise_for_status().json()["results"]
            named = [[one["id"] for one in result.get("vulns", ())] for result in results]
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as failed:
        raise Unreachable(describe(failed)) from failed
    if len(named) != len(libraries):
        raise Unreachable(f"{len(named)} answers for {len(libraries)} libraries")
    return [
        f"{name} {version} : {', '.join(ids)}"
        for (name, version), ids in zip(libraries, named, strict=True)
        if ids
    ]
