"""The operator's commands run in a pod of their own, years after the migration; its page says how."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from core.runtime.settings import unknown_settings
from services.migrate.__main__ import run as run_migrate
from services.migrate.settings import MigrateSettings
from tests.cli.conftest import folder
from tests.k8s.arrived import Arrived, arrived
from tests.k8s.conftest import CHECKOUT, Manifest, Rendered, containers_of, render
from tests.k8s.policies import Party, allows, workload
from tests.k8s.test_policies import INSTANCE, INTERNET, KUBERNETES, database_of

__all__ = ["folder"]
PAGES = sorted((CHECKOUT / "docs").glob("*.md"))
COMMAND = re.compile(r"^territoire\b(?!\()(.*)$|exec -i job/operator -- python -P -m cli (.*)$", re.MULTILINE)


def jobs_of(rendered: Rendered) -> list[Manifest]:
    """What the jobs of a clock are made of."""
    return [job["spec"]["jobTemplate"] for job in rendered.of("CronJob")]


def test_the_pod_is_there_for_whoever_asks_and_never_by_the_clock(rendered: Rendered) -> None:
    job = rendered.named("CronJob", "operator")["spec"]
    [container] = containers_of(job["jobTemplate"])
    labels = job["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    told = {entry["name"]: entry for entry in container["env"]}

    assert job["suspend"] is True
    assert job["jobTemplate"]["spec"]["activeDeadlineSeconds"] == int(container["command"][1]) == 8 * 3600
    # As the migration reaches the database, whatever its Job has become; and the key, which that has not.
    migrate = {entry["name"]: entry for entry in containers_of(rendered.named("Job", "migrate"))[0]["env"]}
    for name in ("TERRITOIRE_DATABASE_URL", "TERRITOIRE_NATS_URL", "TERRITOIRE_SHARDS"):
        assert told[name] == migrate[name]
    assert told["TERRITOIRE_KEK"]["valueFrom"]["secretKeyRef"] == {"name": "territoire-kek", "key": "kek"}
    assert allows(rendered, Party(labels), database_of(rendered), 5432)
    assert allows(rendered, Party(labels), workload(rendered, "StatefulSet", "nats"), 4222)


def test_jobs_of_a_clock_are_as_restricted_as_the_rest(rendered: Rendered) -> None:
    for job in jobs_of(rendered):
        pod, [container] = job["spec"]["template"]["spec"], containers_of(job)
        assert pod["automountServiceAccountToken"] == (pod["serviceAccountName"] != "territoire")
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert container["resources"]["requests"].keys() == container["resources"]["limits"].keys()
        assert container["image"].partition(":")[2] not in {"", "latest"}
        for entry in container["env"]:
            assert "valueFrom" in entry or not re.search("_URL|_KEK|PASSWORD", entry["name"])


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_their_secrets_are_brought_from_the_vault(overlay: str) -> None:
    rendered = render(overlay)
    brought = {
        (secret["metadata"]["name"], entry["secretKey"])
        for secret in rendered.of("ExternalSecret")
        for entry in secret["spec"]["data"]
    }
    for job in jobs_of(rendered):
        for entry in containers_of(job)[0]["env"]:
            reference = entry.get("valueFrom", {}).get("secretKeyRef")
            assert reference is None or (reference["name"], reference["key"]) in brought, entry


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_the_ledger_of_erasures_goes_beside_the_backups_every_hour(overlay: str) -> None:
    rendered = render(overlay)
    job = rendered.named("CronJob", "erasure-ledger")["spec"]
    template = job["jobTemplate"]["spec"]["template"]
    pod = Party(template["metadata"]["labels"])
    told = {
        entry["name"]: entry["valueFrom"]["secretKeyRef"] for entry in template["spec"]["containers"][0]["env"]
    }
    [store] = rendered.of("ObjectStore")
    keys = store["spec"]["configuration"]["s3Credentials"]
    role = rendered.named("Role", "erasure-ledger")["rules"]

    assert job["schedule"].split()[1:] == ["*"] * 4
    assert job["concurrencyPolicy"] == "Forbid"  # The object is read and written whole.
    assert told["AWS_ACCESS_KEY_ID"] == keys["accessKeyId"]
    assert told["AWS_SECRET_ACCESS_KEY"] == keys["secretAccessKey"]
    assert [(rule["resources"], rule["verbs"], rule["resourceNames"]) for rule in role] == [
        (["objectstores"], ["get"], [store["metadata"]["name"]])
    ]
    assert allows(rendered, pod, INSTANCE, 5432)
    for there, port in ((INTERNET, 443), (KUBERNETES, 443), (KUBERNETES, 6443)):
        assert allows(rendered, pod, there, port)


def test_no_page_asks_a_job_that_is_gone_after_a_day() -> None:
    for page in PAGES:
        assert "get job migrate" not in page.read_text("utf-8"), page.name


def pages_commands() -> list[tuple[str, ...]]:
    """Every command that docs/kubernetes.md and docs/exploitation.md give for this pod."""
    found = {
        tuple((one or other).partition("#")[0].split())
        for page in ("kubernetes.md", "exploitation.md")
        for one, other in COMMAND.findall((CHECKOUT / "docs" / page).read_text("utf-8"))
    }
    return sorted(command for command in found if command and command[0].isalpha())


def test_the_page_s_commands_are_found() -> None:
    assert {("doctor",), ("person", "again", "/tmp/effacements.jsonl")} <= set(pages_commands())


@pytest.mark.starts_processes
@pytest.mark.timeout(900)
async def test_each_command_of_the_page_does_its_work_with_what_the_pod_is_told(folder: Path) -> None:
    with arrived(render("production"), folder, "5a" * 32) as there:
        await migrated(there)
        told = there.environment(there.overlay.named("CronJob", "operator")["spec"]["jobTemplate"])
        assert unknown_settings(told) == []
        ledger = str(folder / "effacements.jsonl")
        every = [("person", "ledger", ledger), *pages_commands(), ("migrate", "--check"), ("keys", "rotate")]
        for command in every:
            status, said = await run(told, *(ledger if "/tmp/" in word else word for word in command))
            # Nothing runs beside it here: doctor says so, of each service.
            assert status == 0 or (command == ("doctor",) and status in (1, 2)), (command, said)
            assert "Traceback" not in said


async def migrated(there: Arrived) -> None:
    told = {name.removeprefix("TERRITOIRE_").lower(): value for name, value in there.migrate.items()}
    await run_migrate(MigrateSettings.model_validate(told))


async def run(environment: dict[str, str], *command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "cli", *command,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT), "LANG": "C.UTF-8", **environment},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()
