"""What a migration does about TimescaleDB itself, on a server that loads it only where a database asks for it."""

import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.migration_check import check_migrations
from core.runtime.errors import OperatorError
from core.runtime.postgres import PostgresError, connect, open_bare_connection
from registry.schema import migrate
from registry.timescale import (
    NOT_LOADED,
    CompressedUnderApache,
    Extension,
    LeftToSuperuser,
    NotOffered,
    OlderThanDatabase,
    UpdateFailed,
    is_tried,
    problem_of,
    read_extension,
)
from services.supervisor.postgres import PrivatePostgres, binaries, libpq_environment
from tests.conftest import plain_server

# As a package that is replaced leaves a database: its library has gone with it.
AS_OF_BEFORE = """
WITH m AS (UPDATE _timescaledb_catalog.metadata SET value = '{version}' WHERE key = 'timescaledb_version')
UPDATE pg_extension SET extversion = '{version}' WHERE extname = 'timescaledb'
"""
# A device, and a measurement in each of so many hours.
FILL = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') RETURNING id),
p AS (INSERT INTO device_profile (tenant_id, name, vendor, model, codec)
      SELECT id, 'p', 'v', 'm', 'elsys.ers' FROM t RETURNING id, tenant_id),
d AS (INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, activation)
      SELECT tenant_id, '\\x0102030405060708', '\\x0000000000000000', 'd', id, 3, 'ABP' FROM p
      RETURNING id, tenant_id),
f AS (INSERT INTO datastream (tenant_id, device_id, quantity, unit)
      SELECT tenant_id, id, 'temperature', 'Cel' FROM d RETURNING id)
INSERT INTO observation.measurement
SELECT id, date_trunc('hour', now()) - n * interval '1 hour', n, 0 FROM f, generate_series(1, {hours}) n
"""


@pytest.fixture(scope="module")
def server(server_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivatePostgres]:
    """Its databases: `theirs`, whose extension is the superuser's, and `ours`, whose owner made it."""
    folder = server_folder / f"timescale-{secrets.token_hex(4)}"
    with plain_server(folder, tmp_path_factory.mktemp("timescale") / "postgres.log") as server:
        psql(server.url("postgres"), "CREATE ROLE mairie LOGIN CREATEROLE PASSWORD 'secret'")
        for name, account in (("theirs", server.url("theirs")), ("ours", owner(server, "ours"))):
            psql(server.url("postgres"), f"CREATE DATABASE {name} OWNER mairie")
            psql(account, "CREATE EXTENSION timescaledb")
        yield server


@pytest.fixture
def made(server: PrivatePostgres) -> Iterator[str]:
    """A name for a copy."""
    name = f"of_{secrets.token_hex(4)}"
    yield name
    psql(server.url("postgres"), f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def owner(server: PrivatePostgres, name: str) -> str:
    return server.url(name, "mairie", "secret")


def psql(url: str, *statements: str) -> str:
    """As an operator types it: each a command, the first one the first of its session."""
    commands = [word for statement in statements for word in ("-c", statement)]
    done = subprocess.run(
        [binaries() / "psql", "-X", "-qAt", "-v", "ON_ERROR_STOP=1", *commands],
        env=libpq_environment(url), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def shell(command: str, url: str) -> None:
    """As what is printed is copied to a terminal."""
    environment = {**libpq_environment(url), "PATH": f"{binaries()}:/bin"}
    subprocess.run(["sh", "-c", command], env=environment, check=True)


async def copied(server: PrivatePostgres, template: str, name: str) -> None:
    """Once migrated by their owner, and with measurements."""
    url = owner(server, template)
    if psql(url, "SELECT to_regclass('schema_migration') IS NOT NULL") == "f":
        await migrate(url)
        psql(server.url(template), FILL.format(hours=500))
    psql(server.url("postgres"), f'CREATE DATABASE "{name}" TEMPLATE {template} OWNER mairie')


def version(url: str) -> str:
    return psql(url, "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")


async def test_what_its_owner_made_is_updated_by_the_migration(
    server: PrivatePostgres, made: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await copied(server, "ours", made)
    now = version(server.url(made))
    psql(server.url(made), AS_OF_BEFORE.format(version="2.19.2"))
    connection = await connect(owner(server, made))
    with pytest.raises(PostgresError, match=r"timescaledb-2\.19\.2"):
        await connection.execute("SELECT 1")
    await connection.close()
    assert await check_migrations(owner(server, made)) == 0
    assert f"TimescaleDB à jour, de la 2.19.2 à la {now}" in capsys.readouterr().out

    applied = await migrate(owner(server, made))

    assert applied == 0
    assert version(server.url(made)) == now
    assert psql(server.url(made), "SELECT count(*) FROM observation.measurement") == "500"


async def test_what_a_superuser_made_is_left_to_one_with_the_command(server: PrivatePostgres, made: str) -> None:
    await copied(server, "theirs", made)
    now = version(server.url(made))
    psql(server.url(made), AS_OF_BEFORE.format(version="2.19.2"))

    with pytest.raises(LeftToSuperuser) as refused:
        await migrate(owner(server, made))
    command = f"psql -X -d {made} -c 'ALTER EXTENSION timescaledb UPDATE'"
    assert command in refused.value.french
    assert f"TimescaleDB 2.19.2, ce serveur à la {now}" in refused.value.french
    assert "kubectl cnpg psql database" in refused.value.french
    assert await check_migrations(owner(server, made)) == 1

    shell(command, server.url(made))
    assert await migrate(owner(server, made)) == 0
    assert version(server.url(made)) == now


async def test_an_update_that_waits_for_a_session_gives_up_and_leaves_everything(
    server: PrivatePostgres, made: str
) -> None:
    await copied(server, "ours", made)
    psql(server.url(made), AS_OF_BEFORE.format(version="2.19.2"))
    async with open_bare_connection(server.url(made), "test", settings=NOT_LOADED) as holder, holder.transaction():
        await holder.execute("LOCK TABLE _timescaledb_catalog.metadata")

        with pytest.raises(UpdateFailed, match="not updated") as refused:
            await migrate(owner(server, made), lock_timeout_s=0.3)

    assert "terminez-la (ou attendez) et relancez" in refused.value.french
    connection = await connect(owner(server, made), settings=NOT_LOADED)
    assert (await read_extension(connection)).installed == "2.19.2"
    await connection.close()
    assert await migrate(owner(server, made)) == 0


async def test_a_database_without_it_is_made_one_where_its_owner_may(server: PrivatePostgres, made: str) -> None:
    psql(server.url("postgres"), f'CREATE DATABASE "{made}"')

    with pytest.raises(LeftToSuperuser, match="CREATE EXTENSION timescaledb"):
        await migrate(owner(server, made))

    psql(server.url("postgres"), f'ALTER DATABASE "{made}" OWNER TO mairie')
    assert await migrate(owner(server, made)) > 0


async def test_a_server_that_was_put_back_is_not_written_to(server: PrivatePostgres, made: str) -> None:
    await copied(server, "ours", made)
    psql(server.url(made), AS_OF_BEFORE.format(version="2.20.0"))

    with pytest.raises(OlderThanDatabase, match=r"the database has TimescaleDB 2\.20\.0"):
        await migrate(owner(server, made))


async def test_the_apache_edition_is_not_started_on_what_it_cannot_read(
    server: PrivatePostgres, made: str
) -> None:
    """As its catalogue says that another edition left it."""
    await copied(server, "ours", made)
    psql(server.url(made), "UPDATE _timescaledb_catalog.chunk SET status = 1")
    [chunks] = psql(server.url(made), "SELECT count(*) FROM show_chunks('observation.measurement')").split()

    with pytest.raises(CompressedUnderApache) as refused:
        await migrate(owner(server, made))

    assert f"({chunks} tranches)" in refused.value.french
    assert await check_migrations(owner(server, made)) == 1
    for words in ("decompress_chunk(", "édition Apache", "DATABASE_IMAGE=timescale/timescaledb:2.19.3-pg17"):
        assert words in refused.value.french


@pytest.mark.parametrize(
    ("installed", "offered", "problem"),
    [
        ("2.19.3", "2.19.3", None),
        ("2.9.3", "2.19.3", LeftToSuperuser),
        ("2.19.3", "2.9.3", OlderThanDatabase),
        (None, "2.19.3", LeftToSuperuser),
        (None, None, NotOffered),
        ("2.19.3", None, NotOffered),
        ("2.20.0-dev", "2.20.0", None),
    ],
)
def test_versions_are_compared_as_numbers(
    installed: str | None, offered: str | None, problem: type[OperatorError] | None
) -> None:
    found = problem_of(Extension(installed, offered, "territoire", "17", may_change=False))

    assert (type(found) if found else None) is problem


@pytest.mark.parametrize(
    ("version", "expected"), [("2.19.3", True), ("2.19.0", True), ("2.1", False), (None, True)]
)
def test_what_it_was_tried_with_is_known(version: str | None, expected: bool) -> None:
    assert is_tried(version) is expected
