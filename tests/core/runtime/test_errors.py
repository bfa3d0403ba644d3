"""What an operator reads of a refusal is French, whatever language the server or the system speaks."""

import errno
import os
import re
import socket
from pathlib import Path

import asyncpg
import nats.errors
import pytest

from core.runtime.bus_connection import bus_reason
from core.runtime.errors import program_reason, sql_reason, system_reason
from core.runtime.mqtt import MqttRejected, mqtt_reason
from core.runtime.postgres import DATABASE_AWAY, connect, database_reason
from core.runtime.waiting import network_reason

SAID = "words of the server"
# As a server of another language says it: what it is called says nothing of it.
CODED = [kind for kind in vars(asyncpg.exceptions).values() if getattr(kind, "sqlstate", None)]


@pytest.mark.parametrize(
    ("kind", "french"),
    [
        (asyncpg.InsufficientPrivilegeError, "ce compte n'en a pas le droit"),
        (asyncpg.InvalidPasswordError, "le mot de passe de ce compte est refusé"),
        (asyncpg.InvalidAuthorizationSpecificationError, "ce compte n'entre pas"),
        (asyncpg.InvalidCatalogNameError, "cette base n'y existe pas"),
        (asyncpg.CannotConnectNowError, "le serveur démarre ou s'arrête"),
        (asyncpg.AdminShutdownError, "le serveur s'arrête"),
        (asyncpg.TooManyConnectionsError, "plus de connexion libre"),
        (asyncpg.DiskFullError, "le disque du serveur est plein"),
        (asyncpg.OutOfMemoryError, "la mémoire du serveur"),
        (asyncpg.ReadOnlySQLTransactionError, "n'accepte que des lectures"),
        (asyncpg.ConnectionDoesNotExistError, "la connexion est coupée"),
        (asyncpg.QueryCanceledError, "interrompue"),
        (asyncpg.DeadlockDetectedError, "une autre session"),
        (asyncpg.LockNotAvailableError, "une autre session"),
        (asyncpg.UndefinedTableError, "une table manque"),
        (asyncpg.IndexCorruptedError, "abîmé"),
    ],
)
def test_the_common_refusals_of_postgresql_are_french_by_their_code(kind: type[Exception], french: str) -> None:
    told = database_reason(kind(SAID))

    assert french in told
    assert SAID not in told


def test_what_a_process_waits_for_is_never_in_the_words_of_the_server() -> None:
    awaited = [kind for kind in CODED if issubclass(kind, DATABASE_AWAY)]

    assert len(awaited) > 20
    assert [kind.__name__ for kind in awaited if SAID in database_reason(kind(SAID))] == []


def test_what_is_rare_has_its_code_and_the_words_as_a_quotation() -> None:
    assert sql_reason(asyncpg.RaiseError(SAID)) == f"PostgreSQL refuse (SQLSTATE P0001) : « {SAID} »"


async def test_what_the_server_names_is_named(database) -> None:
    connection = await connect(database.admin_url)
    with pytest.raises(asyncpg.UniqueViolationError) as twice:
        await connection.execute("INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz'), ('metz', 'Metz')")
    await connection.close()

    assert (
        sql_reason(twice.value) == "une règle de la base refuse une valeur (table tenant, règle tenant_slug_key)"
    )


async def test_an_account_without_rights_reads_it_in_french(database) -> None:
    connection = await connect(database.url_of("gateway_bridge"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError) as refused:
        await connection.execute("DROP TABLE tenant")
    await connection.close()

    assert database_reason(refused.value) == "ce compte n'en a pas le droit"


def test_what_the_system_refuses_is_french_where_it_can_come_up() -> None:
    common = (
        "EACCES", "EPERM", "ENOENT", "ENOSPC", "EDQUOT", "EROFS", "EIO", "EEXIST", "ENOTEMPTY", "EBUSY", "EFBIG",
        "ENOMEM", "EMFILE", "ENFILE", "ENOEXEC", "ETXTBSY", "EXDEV", "ESTALE", "EAGAIN", "EINVAL",
        "EADDRINUSE", "EADDRNOTAVAIL", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "EHOSTUNREACH",
    )  # fmt: skip

    for name in common:
        number = getattr(errno, name)
        refused = OSError(number, os.strerror(number))
        assert os.strerror(number) not in system_reason(refused), name
        assert os.strerror(number) not in network_reason(refused), name
    assert system_reason(socket.gaierror(socket.EAI_AGAIN, "Temporary failure")) != "Temporary failure"


@pytest.mark.parametrize(
    ("said", "french"),
    [
        ("pg_dump: error: could not write to output file: No space left on device", "le disque est plein"),
        ('initdb: error: could not create directory "/a/b c": Permission denied\nx', "/a/b c : accès refusé"),
        ("ERROR: [047]: unable to create path '/depot/x': [30] Read-only file system",
         "/depot/x : le disque est en lecture seule"),
        ("something else\n", "« something else »"),
    ],
)  # fmt: skip
def test_what_another_program_says_of_the_system_is_french(said: str, french: str) -> None:
    assert program_reason(said) == french


@pytest.mark.parametrize(
    "error",
    [
        nats.errors.NoServersError(),
        nats.errors.StaleConnectionError(),
        nats.errors.ConnectionClosedError(),
        nats.errors.UnexpectedEOF(),
        nats.errors.AuthorizationError(),
        nats.errors.NoRespondersError(),
    ],
)
def test_the_bus_is_away_in_french(error: Exception) -> None:
    assert str(error) not in bus_reason(error)


def test_a_topic_that_is_refused_is_named() -> None:
    refused = MqttRejected("publish", "eu868/gateway/0000000000000001/command/down", 0x87)

    assert mqtt_reason(refused) == (
        "les droits de ce compte n'y suffisent pas : eu868/gateway/0000000000000001/command/down (code 0x87)"
    )


def test_no_command_shows_a_system_s_words_by_themselves() -> None:
    """`{refused}` of an OSError is English, and Python's spelling of it at that."""
    caught = re.compile(r"except \(?(?:\w+, )*OSError(?:, \w+)*\)? as (\w+):\n(.*)")
    shown = {
        str(file): line.strip()
        for file in sorted(Path("cli").glob("*.py"))
        for name, line in caught.findall(file.read_text("utf-8"))
        if f"{{{name}}}" in line
    }

    assert shown == {}
