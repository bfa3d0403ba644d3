"""`territoire migrate --check` says what an upgrade would do, and does nothing."""

import pytest

from cli import migration_check
from cli.migration_check import check_migrations
from core.runtime.postgres import connect
from registry.migration_files import FIRST_WITH_KIND, parse
from registry.schema import migrations, read_ledger
from tests.core.runtime.versions import migrate_up_to

KNOWN = migrations()
NEXT = len(KNOWN) + 1


def made(number: int, kind: str, sql: str):
    return parse(f"{number:04}_{kind}_of_a_test.sql", sql)


async def test_nothing_to_do(database, capsys: pytest.CaptureFixture[str]) -> None:
    assert await check_migrations(database.admin_url) == 0
    assert "Rien à appliquer." in capsys.readouterr().out


async def test_the_upgrade_from_before_stops_the_services(
    empty_database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await migrate_up_to(FIRST_WITH_KIND - 1, empty_database_url)

    assert await check_migrations(empty_database_url) == 0

    said = capsys.readouterr().out
    assert f"Schéma de la base : {FIRST_WITH_KIND - 1} ; ce programme connaît : {len(KNOWN)}." in said
    assert "Cette mise à jour-là arrête les services" in said


async def test_what_is_locked_for_how_long_and_who_holds_it_up(
    database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pending = [
        made(NEXT, "expand", "-- locks: device ACCESS EXCLUSIVE instant\n-- locks: asset SHARE scan\nSELECT 1;"),
        made(NEXT + 1, "contract", f"-- needs: {NEXT:04}\n-- outside a transaction\n\n-- step\nSELECT 1;"),
    ]
    monkeypatch.setattr(migration_check, "migrations", lambda: [*KNOWN, *pending])
    connection = await connect(database.admin_url)
    await connection.execute("INSERT INTO service_release VALUES ('network', 'network-0', '0.1.0', 1, now())")

    refused = await check_migrations(database.admin_url)
    said = capsys.readouterr().out
    await connection.execute("DELETE FROM service_release")
    taken = await check_migrations(database.admin_url)
    number = (await read_ledger(connection)).number
    await connection.close()

    assert (refused, taken, number) == (1, 0, len(KNOWN))
    assert "bloque device (ACCESS EXCLUSIVE, 0 Mo) un instant, après 10 s d'attente au plus" in said
    assert "bloque asset (SHARE, 0 Mo) le temps de la lire : environ 1 s" in said
    assert "1 étape hors transaction" in said
    assert "Refusé tant que tournent : network network-0 (0.1.0)." in said
    assert "Les services continuent pendant la mise à jour." in capsys.readouterr().out


async def test_a_database_that_needs_a_newer_program(
    database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(migration_check, "migrations", lambda: KNOWN[:-1])
    connection = await connect(database.admin_url)
    await connection.execute("UPDATE schema_migration SET min_compatible = $1 WHERE number = $1", len(KNOWN))
    await connection.close()

    assert await check_migrations(database.admin_url) == 1
    assert "installez la version du programme" in capsys.readouterr().out
