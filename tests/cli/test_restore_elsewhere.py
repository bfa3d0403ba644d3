"""`restore --database-url`: into the database that the address names, or why nothing was begun."""

import asyncio
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from cli.owners import OURS
from core.runtime.postgres import connect
from registry.schema import migrate, migrations
from registry.sql_logins import PREPARE_GROUP
from services.supervisor.postgres import SUPERUSER
from tests.cli.in_process import Ran, territoire
from tests.conftest import Administrator, Cluster, Database
from tests.k8s.test_move import CATALOGUE

PASSWORD = secrets.token_hex(8)
OWNERS_OF_CHUNKS = """
SELECT 'chunk' AS kind, pg_get_userbyid(relowner)::text AS owner, '{}'::text[] AS acl FROM pg_class
WHERE relname LIKE '\\_hyper\\_%chunk' AND relkind = 'r'
"""
NAME = "ville d'été"
KEK = {"TERRITOIRE_KEK": "11" * 32}
# The command line, which waits where the database is closed until a file is there.
HELD = """
import asyncio, sys
from pathlib import Path
import cli.restore_elsewhere as elsewhere

fill, held, go_on = elsewhere.fill, *map(Path, sys.argv[1:3])

async def waiting(*of):
    held.touch()
    while not go_on.exists():
        await asyncio.sleep(0.05)
    await fill(*of)

elsewhere.fill = waiting
from cli.app import app
app(sys.argv[3:])
"""
pytestmark = pytest.mark.starts_processes


@pytest.fixture
def file(database: Database, tmp_path: Path) -> Path:
    """A backup of a town."""

    async def enter() -> None:
        connection = await connect(database.admin_url)
        await connection.execute("INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz')")
        await connection.execute("INSERT INTO observation.measurement VALUES (1, now(), 1, 0)")
        await connection.close()

    asyncio.run(enter())
    file = tmp_path / "sauvegarde.dump"
    saved = territoire("backup", str(file), "--plain", "--database-url", database.admin_url)
    assert saved.returncode == 0, saved.stderr
    return file


@pytest.fixture
def name(administrator: Administrator) -> Iterator[str]:
    """Of a database that is not there yet, with what an address has to encode."""
    made = f"{NAME} {secrets.token_hex(4)}"
    yield made
    administrator.execute(f'DROP DATABASE IF EXISTS "{made}" WITH (FORCE)')


@pytest.fixture
def owner(administrator: Administrator, name: str) -> Iterator[str]:
    """A login that owns nothing yet and may make nothing; `name` is dropped before it is."""
    made = f"ville_{secrets.token_hex(4)}"
    administrator.execute(PREPARE_GROUP)
    administrator.execute(f"CREATE ROLE {made} LOGIN PASSWORD '{PASSWORD}'")
    yield made
    administrator.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    administrator.execute(f"DROP ROLE {made}")


def restore(file: Path, url: str, owner: str = SUPERUSER) -> Ran:
    return territoire("restore", str(file), "--database-url", url, "--owner", owner, **KEK)


def towns(url: str) -> list[str]:
    async def read() -> list[str]:
        connection = await connect(url)
        found = await connection.fetch("SELECT slug FROM tenant")
        await connection.close()
        return [row["slug"] for row in found]

    return asyncio.run(read())


def test_a_name_that_an_address_encodes_is_the_database_s(cluster: Cluster, file: Path, name: str) -> None:
    url = cluster.server.url(quote(name))

    done = restore(file, url)
    again = restore(file, url)

    assert done.returncode == 0, done.stderr
    assert f"la base {name}, à {SUPERUSER}" in done.stdout
    assert towns(url) == ["metz"]
    assert again.returncode == 2
    assert f'ALTER DATABASE "{name}" RENAME TO "{name}_ancienne"' in again.stderr
    copy = file.with_name("copie.dump")
    assert territoire("backup", str(copy), "--plain", "--database-url", url).returncode == 0


@pytest.mark.parametrize(
    ("database", "said"),
    [
        ("", "l'adresse ne nomme aucune base"),
        ("template1", "template1 est au serveur lui-même"),
        ("postgres", "postgres est au serveur lui-même"),
        ("template%30", "template0 est au serveur lui-même"),
    ],
)
def test_what_is_no_database_to_restore_into_is_refused(
    cluster: Cluster, tmp_path: Path, database: str, said: str
) -> None:
    done = restore(tmp_path / "x.dump", cluster.server.url(database))

    assert done.returncode == 2
    assert said in done.stderr


def test_what_is_a_template_is_refused(
    cluster: Cluster, administrator: Administrator, file: Path, name: str
) -> None:
    administrator.execute(f'CREATE DATABASE "{name}" IS_TEMPLATE true')

    done = restore(file, cluster.server.url(quote(name)))

    administrator.execute(f'ALTER DATABASE "{name}" IS_TEMPLATE false')
    assert done.returncode == 2
    assert "est un modèle" in done.stderr


def test_a_server_that_does_not_answer_has_begun_nothing(file: Path) -> None:
    done = restore(file, "postgresql://a:b@127.0.0.1:1/territoire")

    assert done.returncode == 1
    assert done.stderr == "territoire : rien n'est restauré : rien n'écoute à cette adresse\n"


def test_a_second_restore_leaves_the_first_alone(cluster: Cluster, file: Path, tmp_path: Path, name: str) -> None:
    url, held, go_on = cluster.server.url(quote(name)), tmp_path / "held", tmp_path / "go-on"
    command = ("restore", str(file), "--database-url", url, "--owner", SUPERUSER)
    argv = [sys.executable, "-P", "-c", HELD, str(held), str(go_on), *command]
    with subprocess.Popen(argv, env=KEK, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as first:
        while not held.exists():
            assert first.poll() is None
            time.sleep(0.05)
        second = restore(file, url)
        go_on.touch()
        said = first.communicate(timeout=100)

    assert second.returncode == 1
    assert re.search("rien n'est restauré : une autre restauration est en cours", second.stderr)
    assert first.returncode == 0, said
    assert towns(url) == ["metz"]


def test_what_is_somebody_s_there_is_the_owner_s_in_this_database(
    cluster: Cluster, database: Database, file: Path, name: str, owner: str
) -> None:
    """Everything belongs to whom it did, and who may do what, with the owner here for the owner there."""
    url = cluster.server.url(quote(name))

    async def read(url: str, owner: str) -> list[str]:
        connection = await connect(url)
        found = await connection.fetch(CATALOGUE) + await connection.fetch(OWNERS_OF_CHUNKS)
        await connection.close()
        shown = [{**row, "acl": sorted(one.replace(owner, "OWNER") for one in row["acl"])} for row in found]
        lines = sorted(str(row).replace(owner, "OWNER") for row in shown)
        return [line for line in lines if "seal_transaction" not in line]  # Everybody's in tests alone.

    before = asyncio.run(read(database.admin_url, SUPERUSER))
    done = restore(file, url, owner)
    assert done.returncode == 0, done.stderr
    after = asyncio.run(read(url, owner))

    assert "{'kind': 'chunk', 'owner': 'OWNER', 'acl': []}" in after
    assert after == before
    assert asyncio.run(migrate(cluster.server.url(quote(name), owner, PASSWORD))) == 0
    assert re.search(f"GRANT .*territoire_network.* TO {owner} WITH ADMIN OPTION", done.stdout)


def test_rights_that_a_migration_needs_are_demanded_before_anything_is_done(
    cluster: Cluster, file: Path, name: str, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = cluster.server.url(quote(name))
    monkeypatch.setattr("cli.owners.OURS", {*OURS, "territoire_of_tomorrow"})
    lacks_a_role = restore(file, url, owner)
    monkeypatch.setattr("cli.restore_elsewhere.migrations", lambda: [*migrations(), None])
    older = restore(file, url, owner)

    async def databases() -> list[str]:
        connection = await connect(cluster.server.url("postgres"))
        found = await connection.fetch("SELECT datname::text AS name FROM pg_database")
        await connection.close()
        return [row["name"] for row in found]

    assert lacks_a_role.returncode == older.returncode == 2
    assert lacks_a_role.stderr.endswith(f"relancez : ALTER ROLE {owner} CREATEROLE\n")
    assert re.search(f"CREATEROLE ; GRANT .* TO {owner} WITH ADMIN OPTION\n", older.stderr)
    assert name not in asyncio.run(databases())
