"""The ledger of a cluster's erasures, completed beside its backups: by moto, and botocore's signatures."""

import json
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth  # pyright: ignore[reportMissingTypeStubs]
from botocore.awsrequest import AWSRequest  # pyright: ignore[reportMissingTypeStubs]
from botocore.credentials import Credentials  # pyright: ignore[reportMissingTypeStubs]

from cli.ledger_store import LedgerStore
from core.runtime.postgres import connect
from registry.erasures import read_ledger
from registry.tenants import create_tenant
from tests.cli.kubernetes import TOKEN, in_pod
from tests.cli.object_store import REGION, ObjectStore, object_store
from tests.cli.test_pitr import territoire
from tests.conftest import Database
from tests.k8s.conftest import containers_of, render

BUCKET = "territoire-sauvegardes"
LEDGER = "metz/effacements.jsonl"
KEY = {"AWS_ACCESS_KEY_ID": "identifiant", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": REGION}
STORES = "/apis/barmancloud.cnpg.io/v1/namespaces/territoire/objectstores"
ERASE = """
INSERT INTO erasure (tenant_id, kind, subject_id, reason, requested_by, state, digests)
VALUES ($1, 'asset', $2, 'demande', 'essai', 'done', $3)
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[ObjectStore]:
    with object_store(tmp_path, BUCKET) as opened:
        monkeypatch.setenv("SSL_CERT_FILE", str(opened.authority))
        yield opened
        for name in opened.objects(BUCKET):
            opened.client().delete_object(Bucket=BUCKET, Key=name)
        opened.client().delete_bucket(Bucket=BUCKET)  # It is all one store, in this process.


@pytest.fixture
def pod(tmp_path: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """An API of Kubernetes that knows the ObjectStore of production, as an overlay has set it."""
    described = json.loads(json.dumps(render("production").named("ObjectStore", "database")))
    configuration = described["spec"]["configuration"]
    configuration |= {"endpointURL": f"https://localhost:{store.port}", "destinationPath": f"s3://{BUCKET}/metz/"}

    def answer(method: str, path: str, token: str, _body: bytes) -> tuple[int, Any]:
        is_known = (method, path, token) == ("GET", f"{STORES}/database", TOKEN)
        return (200, described) if is_known else (403, {})

    (tmp_path / "pod").mkdir()
    with in_pod(tmp_path / "pod", answer, monkeypatch):
        yield


async def run_as_the_job_does(database: Database) -> tuple[int, str]:
    """The rendered job's own command; its status and what it says."""
    job = render("production").named("CronJob", "erasure-ledger")["spec"]["jobTemplate"]
    [_, *words] = containers_of(job)[0]["args"]
    ran = await territoire(*words, TERRITOIRE_DATABASE_URL=database.admin_url, **KEY)
    return ran.exit_code, ran.output


def digests_in(store: ObjectStore, folder: Path) -> list[list[str]]:
    file = folder / "lu.jsonl"
    file.write_bytes(store.objects(BUCKET)[LEDGER])
    return [list(entry.digests) for entry in read_ledger(file)]


async def test_what_was_erased_is_beside_the_backups_and_what_a_restore_forgot_stays(
    pod: None, store: ObjectStore, database: Database, tmp_path: Path
) -> None:
    assert await run_as_the_job_does(database) == (0, f"s3://{BUCKET}/{LEDGER} : 0 lignes ajoutées.\n")
    assert store.objects(BUCKET) == {LEDGER: b""}  # Nothing erased so far is no ledger that is missing.

    connection = await connect(database.admin_url)
    tenant = await create_tenant(connection, "metz", "Metz")
    await connection.execute(ERASE, tenant.id, 1, [b"\1" * 32])
    await connection.execute(ERASE, tenant.id, 2, [b"\2" * 32, b"\3" * 32])
    assert (await run_as_the_job_does(database))[1].endswith(": 2 lignes ajoutées.\n")
    whole = store.objects(BUCKET)[LEDGER]
    assert (await run_as_the_job_does(database))[1].endswith(": 0 lignes ajoutées.\n")
    assert store.objects(BUCKET)[LEDGER] == whole
    # The database is back at an instant of before, and erases something else.
    await connection.execute("DELETE FROM erasure")
    await connection.execute(ERASE, tenant.id, 3, [b"\4" * 32])
    await run_as_the_job_does(database)
    await connection.close()

    assert digests_in(store, tmp_path) == [["01" * 32], ["02" * 32, "03" * 32], ["04" * 32]]
    head = store.client().head_object(Bucket=BUCKET, Key=LEDGER)
    assert head["ServerSideEncryption"] == "AES256"


async def test_an_object_that_is_no_ledger_is_left_as_it_is(
    pod: None, store: ObjectStore, database: Database
) -> None:
    store.client().put_object(Bucket=BUCKET, Key=LEDGER, Body=b"autre chose\n")

    status, said = await run_as_the_job_does(database)

    assert status == 1
    assert "le registre n'est pas complété : UnreadableLedger ligne 1" in said
    assert store.objects(BUCKET) == {LEDGER: b"autre chose\n"}


async def test_without_rights_or_without_a_store_it_says_so(
    pod: None, store: ObjectStore, database: Database
) -> None:
    ran = await territoire(
        "person", "ledger", "--store", "autre", TERRITOIRE_DATABASE_URL=database.admin_url, **KEY
    )

    assert ran.exit_code == 1
    assert "403" in ran.output


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_it_signs_as_amazon_s_own_library_does(method: str) -> None:
    described: dict[str, Any] = render("production").named("ObjectStore", "database")
    store = LedgerStore.of(described, KEY)
    url, body = f"{store.endpoint}/{store.bucket}/{store.key}", b"ligne\n" if method == "PUT" else b""
    headers = {"x-amz-server-side-encryption": "AES256"} if method == "PUT" else {}
    theirs: Any = AWSRequest(method, url, headers=headers, data=body)
    theirs.context["payload_signing_enabled"] = True
    signer: Any = S3SigV4Auth(Credentials("identifiant", "secret"), "s3", REGION)
    signer.add_auth(theirs)
    at = datetime.strptime(theirs.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)

    assert store.signed(method, url, body, at)["authorization"] == theirs.headers["Authorization"]
    assert url == "https://s3.territoire.example/territoire-sauvegardes/effacements.jsonl"
