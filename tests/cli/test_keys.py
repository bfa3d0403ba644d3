"""`territoire keys check|rotate|allow-export` on a database, with the keys of the environment."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from typer.testing import CliRunner, Result

from cli.app import app
from core.runtime.postgres import connect
from lorawan.crypto import wrap_key
from services.supervisor.credentials import Secrets
from tests.conftest import run_apart

OLD, NEW = "00" * 16, "11" * 32
PLANT = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') RETURNING id),
k AS (INSERT INTO api_key (id, tenant_id, name, secret_sha256, roles)
      SELECT '0123456789ab', id, 'k', sha256('x'), '{read}' FROM t),
w AS (INSERT INTO webhook_endpoint (tenant_id, url, form, secret_wrapped, kek_id)
      SELECT id, 'https://chat.example.fr/hooks/motdepasse', 'chat', $2, 'kek-1' FROM t),
p AS (INSERT INTO device_profile (tenant_id, name, vendor, model, codec) SELECT id, 'p', 'v', 'm', 'c' FROM t
      RETURNING id, tenant_id)
INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id)
SELECT tenant_id, int8send(n), int8send(0), n::text, id, 0, CASE n WHEN 3 THEN $1::bytea ELSE $2 END, 'kek-1'
FROM p, generate_series(1::bigint, 3) n
"""


async def planted(url: str) -> None:
    connection = await connect(url)
    foreign, ours = wrap_key(bytes(range(16)), bytes(16)), wrap_key(bytes.fromhex(OLD), bytes(16))
    await connection.fetch(PLANT, foreign, ours)
    await connection.close()


async def shown(url: str, statement: str) -> str:
    connection = await connect(url)
    found = await connection.fetchval(statement)
    await connection.close()
    return str(found)


def test_check_counts_what_opens_and_rotate_seals_it_for_its_owner(database, tmp_path: Path) -> None:
    run_apart(planted(database.admin_url))
    of_both = {"TERRITOIRE_KEK": NEW, "TERRITOIRE_KEK_ID": "kek-2", "TERRITOIRE_KEK_FORMER": f"kek-1={OLD}"}

    def keys(*arguments: str, **environment: str) -> Result:
        environment = {"TERRITOIRE_DATABASE_URL": database.admin_url, "TERRITOIRE_HOME": "", **environment}
        return CliRunner().invoke(app, ["keys", *arguments, "--home", str(tmp_path)], env=environment)

    before = keys("check", **of_both)
    rotated = keys("rotate", "--json", **of_both)
    after = keys("check", TERRITOIRE_KEK=NEW, TERRITOIRE_KEK_ID="kek-2")
    run_apart(shown(database.admin_url, "DELETE FROM device WHERE name = '3' RETURNING 1"))
    again = keys("rotate", "--json", **of_both)
    closed = keys("check", **of_both)
    no_key = keys("check", TERRITOIRE_KEK="nonsense")
    allowed = keys("allow-export", "0123456789ab", **of_both)
    unknown = keys("allow-export", "ffffffffffff", **of_both)

    assert before.exit_code == 1
    assert "kek-1 (ancienne" in before.output
    assert "3 valeurs s'ouvrent" in before.output
    assert "1 valeurs ne s'ouvrent avec aucune clé" in before.output
    assert "device/0000000000000003/app_key" in before.output
    assert rotated.exit_code == 1  # One is left that nothing opens.
    assert json.loads(rotated.output)["sealed"] == 3
    assert "kek-2 (celle en cours) : 4 valeurs s'ouvrent" in after.output  # The chat's address is one of them.
    assert "ne nomment pas leur propriétaire" not in after.output
    assert "RFC 3394) s'ouvre encore" in after.output  # As long as one is left.
    assert json.loads(again.output)["former_rejected_since"] is not None
    assert "est refusé depuis le" in closed.output
    assert "motdepasse" not in run_apart(shown(database.admin_url, "SELECT w::text FROM webhook_endpoint w"))
    assert (no_key.exit_code, allowed.exit_code, unknown.exit_code) == (2, 0, 2)
    assert "export_keys" in run_apart(shown(database.admin_url, "SELECT roles FROM api_key"))


def test_a_new_key_seals_and_the_former_ones_are_kept_to_open() -> None:
    now = datetime(2026, 11, 29, 8, 30, tzinfo=UTC)
    first = Secrets.fresh(now - timedelta(days=30))

    third = first.with_new_kek(now - timedelta(days=1)).with_new_kek(now)

    assert third.since["kek"] == now

    assert (first.kek_id, third.kek_id) == ("kek-1", "kek-3")
    assert third.kek not in third.former_keks.values()
    assert third.former_keks_text.startswith(f"kek-1={first.kek},kek-2=")
