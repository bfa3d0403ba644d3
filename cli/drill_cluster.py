"""The drill where CloudNativePG runs the database: another Cluster, from the same archive, and away again."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx

from cli.drill import Failed, Restoring
from cli.kubernetes import connect_to_kubernetes

CLUSTERS = "postgresql.cnpg.io/v1", "clusters"
# What the copy has of the original; it has one instance, archives nothing, and gives way to what runs.
ALIKE = ("imageName", "storage", "walStorage", "resources", "certificates", "superuserSecret")
NOT_FOUND = 404
WITHIN_S, LOOKS_EVERY_S = 6 * 3600.0, 5.0
Manifest = dict[str, Any]


def twin_of(cluster: Mapping[str, Any], name: str, mark: str, owners: Sequence[Manifest] = ()) -> Manifest:
    """A Cluster that begins as this one was at the mark, and goes with its owners."""
    spec, original = cluster["spec"], cluster["metadata"]["name"]
    [archiver] = [plugin for plugin in spec["plugins"] if plugin.get("isWALArchiver")]
    database = next(iter(spec["bootstrap"].values()))
    parameters = {"serverName": original, **archiver["parameters"]}
    settings = {key: value for key, value in spec["postgresql"].items() if key != "synchronous"}
    return {
        "apiVersion": cluster["apiVersion"],
        "kind": "Cluster",
        "metadata": {"name": name, **({"ownerReferences": list(owners)} if owners else {})},
        "spec": {
            **{key: spec[key] for key in ALIKE if key in spec},
            "instances": 1,
            "enableSuperuserAccess": True,
            "postgresql": settings,
            "bootstrap": {
                "recovery": {
                    "source": "archive",
                    "database": database["database"],
                    "owner": database["owner"],
                    "recoveryTarget": {"targetName": mark},
                }
            },
            "externalClusters": [
                {"name": "archive", "plugin": {"name": archiver["name"], "parameters": parameters}}
            ],
        },
    }


def this_pod() -> list[Manifest]:
    """The pod that runs this, as an owner; none where the manifest does not tell which it is."""
    name, uid = os.environ.get("POD_NAME"), os.environ.get("POD_UID")
    return [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}] if name and uid else []


def restoring_beside(cluster: str, url: str) -> Restoring:
    """Into a Cluster `{cluster}-drill`. `url`: of the original, as a superuser, by its service."""

    @asynccontextmanager
    async def restoring(mark: str) -> AsyncGenerator[str]:
        name = f"{cluster}-drill"
        try:
            async with connect_to_kubernetes(*CLUSTERS) as kubernetes:
                original = (await kubernetes.get(f"/{cluster}")).raise_for_status().json()
                await _remove(kubernetes, name)  # What a drill that was killed has left.
                await _created(kubernetes, twin_of(original, name, mark, this_pod()))
                try:
                    await _until_ready(kubernetes, name)
                    yield by_service(url, f"{name}-rw")
                finally:
                    await kubernetes.delete(f"/{name}")
        except (OSError, KeyError, ValueError, httpx.HTTPError) as refused:
            raise Failed("not_restored", f"Kubernetes : {type(refused).__name__} {refused}") from refused

    return restoring


def by_service(url: str, service: str) -> str:
    """The same address by another service."""
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{login}@{service}:{parts.port or 5432}"))


async def _created(kubernetes: httpx.AsyncClient, cluster: Manifest) -> None:
    (await kubernetes.post("", json=cluster)).raise_for_status()


async def _remove(kubernetes: httpx.AsyncClient, name: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while (await kubernetes.delete(f"/{name}")).status_code != NOT_FOUND:
        if time.monotonic() > deadline:
            raise Failed("not_restored", f"{name} ne s'efface pas")
        await asyncio.sleep(LOOKS_EVERY_S)


async def _until_ready(kubernetes: httpx.AsyncClient, name: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while True:
        status = (await kubernetes.get(f"/{name}")).raise_for_status().json().get("status", {})
        if status.get("readyInstances"):
            return
        if time.monotonic() > deadline:
            raise Failed("not_restored", f"{name} : {status.get('phase', 'sans état')}")
        await asyncio.sleep(LOOKS_EVERY_S)
