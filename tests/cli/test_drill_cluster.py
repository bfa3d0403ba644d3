"""The drill in a cluster of Kubernetes, against an API of Kubernetes over TLS that is a list of answers."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli import drill_cluster
from cli import kubernetes as kubernetes_api
from cli.drill import Failed
from cli.drill_cluster import by_service, restoring_beside
from tests.cli.kubernetes import TOKEN, in_pod
from tests.k8s.conftest import render
from tests.k8s.test_schemas import check_custom

URL = "postgresql://postgres:p%40ss@database-rw:5432/territoire?sslmode=verify-ca"
CLUSTERS = "/apis/postgresql.cnpg.io/v1/namespaces/territoire/clusters"


class Kubernetes:
    """What it was asked, and what it says of the copy at each look."""

    def __init__(self, left_over: bool, looks: list[dict[str, Any]]) -> None:
        self.asked: list[str] = []
        self.created: list[dict[str, Any]] = []
        self.twin_there = left_over
        self.looks = looks

    def answer(self, method: str, path: str, token: str, body: bytes) -> tuple[int, Any]:
        name = path.removeprefix(CLUSTERS).lstrip("/")
        self.asked.append(f"{method} {name}".strip())
        if token != TOKEN:
            return 403, {}
        if method == "GET" and name == "database":
            return 200, render("production").named("Cluster", "database")
        if method == "POST":
            self.twin_there = True
            self.created.append(json.loads(body))
            return 201, {}
        if name != "database-drill" or not self.twin_there:
            return 404, {}
        if method == "DELETE":
            self.twin_there = False
            return 200, {}
        return 200, {"status": self.looks.pop(0)}


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubernetes]:
    kubernetes = Kubernetes(True, [{}, {"phase": "Setting up primary"}, {"readyInstances": 1}])

    monkeypatch.setattr(drill_cluster, "LOOKS_EVERY_S", 0.01)
    with in_pod(tmp_path, kubernetes.answer, monkeypatch):
        yield kubernetes


async def test_another_cluster_begins_at_the_mark_and_is_deleted(pod: Kubernetes) -> None:
    async with restoring_beside("database", URL)("drill-2026-11-28T040000-ab") as restored:
        assert pod.twin_there

    assert restored == "postgresql://postgres:p%40ss@database-drill-rw:5432/territoire?sslmode=verify-ca"
    assert pod.asked == [
        "GET database",
        *["DELETE database-drill"] * 2,
        "POST",
        *["GET database-drill"] * 3,
        "DELETE database-drill",
    ]
    [copy] = pod.created
    check_custom(copy)
    assert copy["metadata"] == {"name": "database-drill"}
    assert copy["spec"]["bootstrap"] == {
        "recovery": {
            "source": "archive",
            "database": "territoire",
            "owner": "territoire",
            "recoveryTarget": {"targetName": "drill-2026-11-28T040000-ab"},
        }
    }
    [archive] = copy["spec"]["externalClusters"]
    assert archive["plugin"]["parameters"] == {"barmanObjectName": "database", "serverName": "database"}
    # It archives nothing over the original's, and waits for nobody.
    assert "plugins" not in copy["spec"]
    assert "synchronous" not in copy["spec"]["postgresql"]
    assert copy["spec"]["instances"] == 1


async def test_what_does_not_come_is_deleted_and_said(pod: Kubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill_cluster, "WITHIN_S", 0.0)
    pod.twin_there = False
    pod.looks = [{"phase": "Full recovery is failing"}]

    with pytest.raises(Failed, match="Full recovery is failing") as failed:
        async with restoring_beside("database", URL)("mark"):
            raise AssertionError
    assert failed.value.outcome == "not_restored"
    assert not pod.twin_there


# The drill as the job runs it, but for the mark, which wants a server that archives its log.
OF_THE_JOB = """
import sys
from pathlib import Path
from cli import drill, kubernetes

async def marked(*_):
    return None

kubernetes.ACCOUNT = Path(sys.argv.pop(1))
drill._mark = drill.size_of = marked
from cli.app import app
app()
"""


async def test_a_pod_that_is_thrown_out_leaves_no_cluster_behind(pod: Kubernetes, tmp_path: Path) -> None:
    pod.twin_there = False
    pod.looks = [{"phase": "Full recovery"}] * 10_000
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", OF_THE_JOB, tmp_path, "pitr", "drill", "--cluster", "database",
        env={**os.environ, "TERRITOIRE_DATABASE_URL": URL}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    while "GET database-drill" not in pod.asked:  # noqa: ASYNC110 - Another process says when.
        await asyncio.sleep(0.05)
    process.terminate()  # As the kubelet does.
    _, said = await process.communicate()

    assert (process.returncode, said.decode()) == (143, "territoire : arrêté avant la fin\n")
    assert not pod.twin_there


async def test_the_copy_goes_with_the_pod_that_asked_for_it(
    pod: Kubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whom nobody tells to end, on a node that is lost, deletes nothing: Kubernetes does, once the pod is gone."""
    monkeypatch.setenv("POD_NAME", "restore-drill-29-abcde")
    monkeypatch.setenv("POD_UID", "7d1d6d9e-0000-4000-8000-000000000001")
    async with restoring_beside("database", URL)("mark"):
        pass

    [copy] = pod.created
    check_custom(copy)
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "restore-drill-29-abcde"}
    assert copy["metadata"]["ownerReferences"] == [{**owner, "uid": "7d1d6d9e-0000-4000-8000-000000000001"}]


async def test_without_rights_or_outside_a_pod_the_drill_says_so(
    pod: Kubernetes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("another")
    with pytest.raises(Failed, match="403"):
        async with restoring_beside("database", URL)("mark"):
            raise AssertionError
    monkeypatch.setattr(kubernetes_api, "ACCOUNT", tmp_path / "nowhere")
    with pytest.raises(Failed, match="FileNotFoundError"):
        async with restoring_beside("database", URL)("mark"):
            raise AssertionError


def test_the_port_of_an_address_is_kept() -> None:
    assert by_service("postgresql://a:b@database-rw/x", "other") == "postgresql://a:b@other:5432/x"
