"""Scheduled drops as a user has them: planned over the API, dropped by maintenance, for real."""

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import httpx
import pytest

from alerting.requested_alerts import open_requested_alerts
from core.runtime.postgres import Pool, open_pool
from ingest.exports import drops
from ingest.exports import schedule_store as schedules
from ingest.exports.drops import ACCEPT_TEXT, NOTHING_TEXT, RIGHT_TEXT, WAITS, Dropper, begin_due
from ingest.exports.folder import CLOSED_TEXT
from ingest.exports.runner import DENIED_TEXT, export_next
from registry.keys import KeyWrap
from registry.tenants import create_api_key
from tests.api.conftest import KEK, client_of
from tests.ingest.exports.sftp_server import PASSWORD, USER, Server, sftp_server

ROOM = 1 << 30
YESTERDAY_NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)


@pytest.fixture
async def maintenance(database) -> AsyncGenerator[Pool]:
    async with open_pool(database.url_of("maintenance"), "territoire-tests", size=3) as pool:
        yield pool


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[Server]:
    async with sftp_server(tmp_path / "sftp") as opened:
        yield opened


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "depots"
    folder.mkdir()
    return folder


@pytest.fixture
def dropper(maintenance: Pool, root: Path) -> Dropper:
    return Dropper(maintenance, KeyWrap("kek-1", KEK), "m1", root)


@pytest.fixture
async def stream(registry, observations) -> int:
    """A room with two readings of yesterday, and one of now."""
    room = await registry.asset(kind="room", name="Salle")
    device = await registry.device(asset_id=room["id"])
    id_ = await observations.datastream(device["dev_eui"], room["id"], "temperature", "Cel")
    now = datetime.now(UTC).replace(microsecond=0)
    await observations.readings(id_, {YESTERDAY_NOON: 19.5, YESTERDAY_NOON + timedelta(hours=1): 20, now: 21})
    return id_


async def planned(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    usual = {"name": "Chaque nuit", "frequency": "day", "at_hour": 2, "target": "folder", "directory": "collecte"}
    answer = await client.post("/v1/export-schedules", json=usual | body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def planned_by_sftp(client: httpx.AsyncClient, pool: Pool, server: Server, **body: Any) -> dict[str, Any]:
    """The operator has allowed this machine."""
    await pool.execute("UPDATE tenant SET webhook_allow_list = '{127.0.0.1/32}'")
    given = {"target": "sftp", "host": "127.0.0.1", "port": server.port, "username": USER, "directory": "entree"}
    secret = {} if "private_key" in body else {"password": PASSWORD}
    return await planned(client, **(given | secret | {"host_key": server.host_key} | body))


async def work(dropper: Dropper, maintenance: Pool) -> None:
    """As maintenance does in some seconds: drops, exports, drops."""
    await dropper.work()
    while await export_next(maintenance, "m1", ROOM):
        pass
    await maintenance.execute("UPDATE export_drop SET next_at = now() WHERE state = 'writing'")
    await dropper.work()


async def receipts(client: httpx.AsyncClient, schedule: dict[str, Any]) -> list[dict[str, Any]]:
    return (await client.get(f"/v1/export-schedules/{schedule['id']}/drops")).json()["items"]


async def again(pool: Pool) -> None:
    """The wait is over."""
    await pool.execute("UPDATE export_drop SET next_at = now() WHERE ended_at IS NULL")


async def dropped(client, schedule, dropper: Dropper, maintenance: Pool) -> dict[str, Any]:
    answer = await client.post(f"/v1/export-schedules/{schedule['id']}/drops")
    assert answer.status_code == 201, answer.text
    await work(dropper, maintenance)
    return (await receipts(client, schedule))[0]


async def alerts(pool: Pool) -> list[tuple[str, str, int]]:
    async with pool.acquire() as connection, connection.transaction():
        await open_requested_alerts(connection)
    rows = await pool.fetch(
        "SELECT a.condition, a.message, a.occurrences FROM alert a JOIN alert_rule r ON r.id = a.rule_id "
        "WHERE r.kind = 'export_drop' ORDER BY a.id"
    )
    return [tuple(row) for row in rows]


async def test_what_is_due_is_dropped_whole_in_the_tenants_folder_with_a_receipt(
    client, stream: int, dropper: Dropper, maintenance: Pool, root: Path, pool: Pool
) -> None:
    schedule = await planned(client, kind="room", checksum_file=True, file_name="salles_{date}.csv")
    await pool.execute("UPDATE export_schedule SET next_at = date_trunc('hour', now())")

    await work(dropper, maintenance)
    await work(dropper, maintenance)

    (receipt,) = await receipts(client, schedule)
    shown = (await client.get(f"/v1/export-schedules/{schedule['id']}")).json()
    folder = root / "sdef" / "collecte"
    name = receipt["file_name"]
    content = (folder / name).read_bytes()
    lines = content.decode().splitlines()
    assert (receipt["state"], receipt["readings"], receipt["octets"], receipt["streams"]) == (
        "done", 2, len(content), 1,
    )  # fmt: skip
    assert [line.split(",")[-3:-1] for line in lines[1:]] == [
        [YESTERDAY_NOON.strftime("%Y-%m-%dT%H:%M:%SZ"), "19.5"],
        [(YESTERDAY_NOON + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"), "20"],
    ]
    digest = hashlib.sha256(content).hexdigest()
    assert receipt["digest"] == digest
    assert (folder / f"{name}.sha256").read_text() == f"{digest}  {name}\n"
    assert sorted(path.name for path in folder.iterdir()) == [name, f"{name}.sha256"]
    assert name == f"salles_{YESTERDAY_NOON.date()}.csv"
    assert datetime.fromisoformat(shown["next_at"]) > datetime.now(UTC)
    assert (shown["last_drop"]["id"], shown["test_reason"]) == (receipt["id"], None)
    assert shown["tested_at"] is not None
    assert await pool.fetchval("SELECT count(*) FROM audit WHERE action = 'export.drop'") == 1


async def test_the_same_period_is_dropped_again_over_its_own_file_and_over_no_other(
    client, stream: int, dropper: Dropper, maintenance: Pool, root: Path
) -> None:
    schedule = await planned(client)
    first = await dropped(client, schedule, dropper, maintenance)
    path = root / "sdef" / "collecte" / first["file_name"]
    path.write_text("lu à moitié")
    second = await dropped(client, schedule, dropper, maintenance)
    whole = path.read_bytes()
    other = await planned(client, name="Autre", quantity="temperature")

    refused = await dropped(client, other, dropper, maintenance)

    assert (first["id"], first["state"]) == (second["id"], second["state"])
    assert hashlib.sha256(whole).hexdigest() == second["digest"]
    assert (refused["state"], "déjà là" in refused["reason"]) == ("failed", True)
    assert path.read_bytes() == whole
    repeated = await client.post(f"/v1/export-schedules/{schedule['id']}/drops/{first['id']}/repeat")
    early = await client.post(f"/v1/export-schedules/{schedule['id']}/drops/{first['id']}/repeat")
    unknown = await client.post(f"/v1/export-schedules/{schedule['id']}/drops/{refused['id']}/repeat")
    assert (repeated.status_code, early.status_code, unknown.status_code) == (200, 409, 404)


async def test_a_folder_leads_nowhere_else(client, stream: int, dropper, maintenance, root, tmp_path) -> None:
    outside = tmp_path / "ailleurs"
    outside.mkdir()
    refused = [
        (await client.post("/v1/export-schedules", json={"name": "x", "target": "folder", "directory": path}))
        for path in ("../x", "/etc", "a/../../x", "a//b", ".", "a/./b", "a\x00b")
    ]
    schedule = await planned(client, directory="lien")
    (root / "sdef").mkdir(exist_ok=True)
    (root / "sdef" / "lien").symlink_to(outside)

    receipt = await dropped(client, schedule, dropper, maintenance)

    assert [one.status_code for one in refused] == [422] * 7
    assert "lien" in receipt["reason"]
    assert list(outside.iterdir()) == []
    closed = Dropper(maintenance, KeyWrap("kek-1", KEK), "m1", None)
    await client.post(f"/v1/export-schedules/{schedule['id']}/test")
    await closed.work()
    shown = (await client.get(f"/v1/export-schedules/{schedule['id']}")).json()
    assert shown["test_reason"] == CLOSED_TEXT


async def test_a_full_disk_leaves_no_half_and_is_tried_again(
    client, stream: int, dropper, maintenance, root: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = await planned(client)
    await dropper.work()
    written = os.write

    def full(file: int, octets: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ingest.exports.folder.os.write", full)
    failed = await dropped(client, schedule, dropper, maintenance)
    folder = root / "sdef" / "collecte"
    left = list(folder.iterdir())
    monkeypatch.setattr("ingest.exports.folder.os.write", written)
    await again(pool)
    await work(dropper, maintenance)
    (done,) = await receipts(client, schedule)

    assert (failed["state"], failed["attempts"], "plein" in failed["reason"]) == ("sending", 1, True)
    assert left == []
    assert (done["state"], done["attempts"], done["reason"]) == ("done", 2, None)
    assert await alerts(pool) == []


async def test_a_file_goes_to_a_server_whose_key_is_known_under_another_name_until_it_is_whole(
    client, stream: int, dropper, maintenance, server: Server, pool: Pool
) -> None:
    by_password = await planned_by_sftp(client, pool, server, checksum_file=True)
    by_key = await planned_by_sftp(
        client, pool, server, name="clé", private_key=server.client_key, file_name="{date}.csv"
    )

    first = await dropped(client, by_password, dropper, maintenance)
    second = await dropped(client, by_key, dropper, maintenance)
    repeated = await dropped(client, by_key, dropper, maintenance)

    files = server.files()
    assert [one["state"] for one in (first, second, repeated)] == ["done"] * 3, (first, second, repeated)
    assert sorted(files) == sorted([first["file_name"], f"{first['file_name']}.sha256", second["file_name"]])
    assert hashlib.sha256(files[first["file_name"]]).hexdigest() == first["digest"]
    assert [old.startswith("entree/.") for old, _ in server.behaviour.renames] == [True] * 4
    secret = await pool.fetchval("SELECT secret_wrapped FROM export_schedule ORDER BY id LIMIT 1")
    assert PASSWORD.encode() not in secret
    assert "password" not in {key for key in by_password if by_password[key] == PASSWORD}
    assert PASSWORD not in str(by_password)


async def test_nothing_is_said_to_a_server_whose_key_nobody_has_accepted(
    client, stream: int, dropper, maintenance, server: Server, pool: Pool
) -> None:
    schedule = await planned_by_sftp(client, pool, server, host_key=None)
    path = f"/v1/export-schedules/{schedule['id']}"
    early = await client.post(f"{path}/drops")
    await pool.execute("UPDATE export_schedule SET next_at = now()")
    await work(dropper, maintenance)
    seen = (await client.get(path)).json()
    before = (list(server.behaviour.logins), await receipts(client, schedule))

    accepted = (await client.patch(path, json={"host_key": seen["seen_host_key"]})).json()
    done = await dropped(client, schedule, dropper, maintenance)

    assert early.status_code == 409
    assert (seen["test_reason"], seen["seen_host_key"]) == (ACCEPT_TEXT, server.host_key)
    assert seen["seen_host_key_fingerprint"] == asyncssh.import_public_key(server.host_key).get_fingerprint()
    assert before == ([], [])
    assert accepted["host_key_fingerprint"] == seen["seen_host_key_fingerprint"]
    assert done["state"] == "done"
    assert (await client.get(path)).json()["test_reason"] is None


async def test_another_machine_and_a_wrong_password_end_a_drop_at_once_and_are_told(
    client, stream: int, dropper, maintenance, server: Server, pool: Pool
) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode().strip()
    impostor = await planned_by_sftp(client, pool, server, name="imposteur", host_key=other)
    wrong = await planned_by_sftp(client, pool, server, name="mauvais", password="autre")

    moved = await dropped(client, impostor, dropper, maintenance)
    logins = list(server.behaviour.logins)
    refused = await dropped(client, wrong, dropper, maintenance)
    opened = await alerts(pool)
    path = f"/v1/export-schedules/{wrong['id']}"
    shown = (await client.get(path)).json()
    await client.patch(path, json={"password": PASSWORD})
    done = await dropped(client, wrong, dropper, maintenance)

    assert (moved["state"], moved["attempts"], "clé de machine" in moved["reason"]) == ("failed", 1, True)
    # The test of the other one has logged in; the impostor was shown nothing.
    assert "autre" not in str(moved)
    assert len(logins) == 1
    assert (refused["state"], "mot de passe" in refused["reason"]) == ("failed", True)
    assert [condition for condition, _, _ in opened] == ["firing", "firing"]
    assert "« mauvais »" in opened[1][1]
    assert (shown["enabled"], shown["failing_since"] is not None, "mot de passe" in shown["test_reason"]) == (
        True, True, True,
    )  # fmt: skip
    assert done["state"] == "done"
    assert [condition for condition, _, _ in await alerts(pool)] == ["firing", "ok"]
    assert (await client.get(path)).json()["failing_since"] is None
    assert (await client.delete(f"/v1/export-schedules/{impostor['id']}")).status_code == 204
    assert [condition for condition, _, _ in await alerts(pool)] == ["ok", "ok"]


async def test_a_cut_line_a_full_disk_and_a_missing_folder_are_tried_for_two_hours(
    client, stream: int, dropper, maintenance, server: Server, pool: Pool
) -> None:
    schedule = await planned_by_sftp(client, pool, server)
    server.behaviour.cut_after = 40
    reasons = [(await dropped(client, schedule, dropper, maintenance))["reason"]]
    server.behaviour.cut_after, server.behaviour.full_after = None, 40
    await again(pool)
    await work(dropper, maintenance)
    reasons.append((await receipts(client, schedule))[0]["reason"])
    halves = server.files()
    (server.root / "entree").rename(server.root / "sortie")
    while True:
        await again(pool)
        await work(dropper, maintenance)
        (receipt,) = await receipts(client, schedule)
        if receipt["state"] == "failed":
            break
    reasons.append(receipt["reason"])
    told = await alerts(pool)
    (server.root / "sortie").rename(server.root / "entree")
    server.behaviour.full_after = None
    done = await dropped(client, schedule, dropper, maintenance)

    assert ["coupée" in reasons[0], "No space left" in reasons[1], "n'existe pas" in reasons[2]] == [True] * 3, (
        reasons
    )
    assert receipt["attempts"] == len(WAITS) + 1
    assert not any(name == receipt["file_name"] for name in halves)
    assert [(condition, count) for condition, _, count in told] == [("firing", 1)]
    assert done["state"] == "done"
    assert list(server.files()) == [receipt["file_name"]]
    assert [condition for condition, _, _ in await alerts(pool)] == ["ok"]


async def test_an_inner_address_is_not_reached_unless_the_operator_allows_it(
    client, stream: int, dropper, maintenance, server: Server, pool: Pool
) -> None:
    schedule = await planned_by_sftp(client, pool, server)
    await pool.execute("UPDATE tenant SET webhook_allow_list = '{}'")

    receipt = await dropped(client, schedule, dropper, maintenance)

    assert (receipt["state"], receipt["attempts"], "adresse publique" in receipt["reason"]) == ("failed", 1, True)
    assert server.behaviour.logins == []


async def test_who_has_lost_the_right_stops_the_schedule_and_somebody_else_takes_it_over(
    client, tenancy, app, stream: int, dropper, maintenance, pool: Pool
) -> None:
    key = await create_api_key(pool, tenancy.id, "BI", ("read", "manage"))
    key_id = key.split("_")[1]
    async with client_of(app, key) as partner:
        schedule = await planned(partner)
    path = f"/v1/export-schedules/{schedule['id']}"
    await pool.execute("UPDATE api_key SET roles = '{read}' WHERE id = $1", key_id)
    less = await dropped(client, schedule, dropper, maintenance)
    stopped = (await client.get(path)).json()
    await pool.execute("UPDATE api_key SET roles = '{read,manage}', revoked_at = now() WHERE id = $1", key_id)
    revoked = await dropped(client, schedule, dropper, maintenance)
    told = await alerts(pool)

    resumed = (await client.patch(path, json={"enabled": True})).json()
    done = await dropped(client, schedule, dropper, maintenance)

    assert (less["state"], less["reason"], less["octets"]) == ("failed", RIGHT_TEXT, 0)
    assert (stopped["enabled"], stopped["stopped_reason"]) == (False, RIGHT_TEXT)
    assert revoked["reason"] == DENIED_TEXT
    assert [(condition, count) for condition, _, count in told] == [("firing", 2)]
    assert (resumed["enabled"], resumed["stopped_reason"], resumed["requested_by"]) == (True, None, "clé de sdef")
    assert done["state"] == "done"


async def test_what_was_shared_is_dropped_as_long_as_it_is(
    client, other_client, other_tenancy, stream: int, dropper, maintenance, pool: Pool, root: Path
) -> None:
    """The other tenant sees an hour of yesterday, and nothing any more afterwards."""
    asset = await pool.fetchval("SELECT asset_id FROM datastream WHERE id = $1", stream)
    begin = YESTERDAY_NOON - timedelta(minutes=1)
    grant = await client.post(
        "/v1/grants",
        json={
            "tenant": "autre", "asset_id": asset,
            "data_from": begin.isoformat(), "data_to": (begin + timedelta(hours=1)).isoformat(),
        },
    )  # fmt: skip
    assert grant.status_code == 201, grant.text
    assert (await other_client.post(f"/v1/grants/{grant.json()['id']}/accept")).status_code == 200
    schedule = await planned(other_client)

    seen = await dropped(other_client, schedule, dropper, maintenance)
    assert (await client.delete(f"/v1/grants/{grant.json()['id']}")).is_success
    gone = await dropped(other_client, schedule, dropper, maintenance)
    foreign = await client.get(f"/v1/export-schedules/{schedule['id']}")

    assert (seen["state"], seen["readings"]) == ("done", 1)
    assert (root / "autre" / "collecte" / seen["file_name"]).exists()
    assert (gone["state"], gone["reason"]) == ("failed", NOTHING_TEXT)
    assert foreign.status_code == 404


async def test_after_a_crash_between_two_steps_the_file_is_there_once_and_whole(
    client, stream: int, dropper, maintenance, server: Server, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies after its rename was carried out, before the row says so; another takes the drop over."""
    schedule = await planned_by_sftp(client, pool, server)
    await client.post(f"/v1/export-schedules/{schedule['id']}/drops")

    class Killed(BaseException):
        pass

    async def die(*args: Any, **named: Any) -> bool:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(schedules, "end_drop", die)
        with pytest.raises(Killed):
            await work(dropper, maintenance)
    there = server.files()
    state = await pool.fetchrow("SELECT state, placed, ended_at FROM export_drop")
    other = Dropper(maintenance, KeyWrap("kek-1", KEK), "m2", None)
    await other.work()
    held = await pool.fetchval("SELECT state FROM export_drop")
    await pool.execute("UPDATE export_drop SET taken_until = now(), next_at = now()")
    await other.work()

    (receipt,) = await receipts(client, schedule)
    assert list(there) == list(server.files()) == [receipt["file_name"]]
    assert tuple(state or ()) == ("writing", None, None)
    assert held == "writing"
    assert receipt["state"] == "done"
    assert len(server.behaviour.renames) == 2


async def test_since_the_last_drop_goes_on_where_the_last_one_that_arrived_ended(
    client, stream: int, dropper, maintenance, root: Path, pool: Pool
) -> None:
    schedule = await planned(client, covers="since_last", frequency="hours", every_hours=1)
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    await pool.execute(
        "UPDATE export_schedule SET covered_until = $1, next_at = $2", start, start + timedelta(hours=1)
    )
    (root / "sdef").write_text("un fichier, et non un dossier")
    await work(dropper, maintenance)
    await pool.execute("UPDATE export_drop SET attempts = $1, next_at = now()", len(WAITS))
    await work(dropper, maintenance)
    (root / "sdef").unlink()
    await pool.execute("UPDATE export_schedule SET next_at = $1", start + timedelta(hours=2))

    await work(dropper, maintenance)

    newest, failed = await receipts(client, schedule)
    assert (failed["state"], newest["state"]) == ("failed", "done")
    assert [datetime.fromisoformat(newest[name]) for name in ("from", "to")] == [start, start + timedelta(hours=2)]
    reached = datetime.fromisoformat(
        (await client.get(f"/v1/export-schedules/{schedule['id']}")).json()["covered_until"]
    )
    assert reached == start + timedelta(hours=2)


async def test_what_was_missed_while_maintenance_was_away_is_caught_up_day_by_day(
    client, stream: int, dropper, maintenance, root: Path, pool: Pool
) -> None:
    schedule = await planned(client)
    await pool.execute("UPDATE export_schedule SET next_at = next_at - interval '3 days'")

    while await begin_due(maintenance):
        pass

    days = [one["file_name"] for one in await receipts(client, schedule)]
    assert len(days) == len(set(days)) == 3


REJECTED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"frequency": "hours"}, "every_hours"),
    ({"every_hours": 2}, "every_hours"),
    ({"frequency": "week", "on_day": 8}, "lundi"),
    ({"file_name": "../{date}.csv"}, "sans accent"),
    ({"file_name": "mesures.csv"}, "même nom"),
    ({"format": "ndjson", "spreadsheet": True}, "csv"),
    ({"quantity": "noise"}, "aucun flux"),
    ({"host": "sftp.example"}, "un dossier n'a ni serveur"),
    ({"target": "sftp"}, "serveur attendu"),
    ({"target": "sftp", "host": "a.example", "username": "u"}, "un seul des deux"),
    ({"target": "sftp", "host": "a.example", "username": "u", "private_key": "x"}, "clé privée"),
    (
        {"target": "sftp", "host": "a.example", "username": "u", "password": "x", "host_key": "x y"},
        "clé de machine",
    ),
)


async def test_what_cannot_be_planned_is_refused_in_french(client, stream: int) -> None:
    usual = {"name": "x", "target": "folder"}
    for body, said in REJECTED:
        answer = await client.post("/v1/export-schedules", json=usual | body)

        assert (answer.status_code, said in answer.text) == (422, True), (body, answer.text)


async def test_a_pass_ends_however_long_an_export_takes(
    client, stream: int, dropper, maintenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is to be looked at again at once, and nobody writes the file."""
    monkeypatch.setattr(drops, "LOOK_EVERY", timedelta(0))
    schedule = await planned(client)
    await client.post(f"/v1/export-schedules/{schedule['id']}/drops")

    async with asyncio.timeout(60):
        await dropper.work()
        await dropper.work()

    assert (await receipts(client, schedule))[0]["state"] == "writing"


async def test_an_export_that_fails_is_asked_for_again(
    client, stream: int, dropper, maintenance, pool: Pool, root: Path
) -> None:
    schedule = await planned(client)
    await client.post(f"/v1/export-schedules/{schedule['id']}/drops")
    await dropper.work()
    await export_next(maintenance, "m1", 1)
    await pool.execute("UPDATE export_drop SET next_at = now()")
    await dropper.work()
    (failed,) = await receipts(client, schedule)
    await again(pool)
    await work(dropper, maintenance)
    (done,) = await receipts(client, schedule)

    assert (failed["state"], "remplissent leur place" in failed["reason"]) == ("waiting", True)
    assert (done["state"], done["export_id"] != failed["export_id"]) == ("done", True)


async def test_a_file_that_is_gone_before_it_was_sent_is_written_again(
    client, stream: int, dropper, maintenance, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = await planned(client)
    await client.post(f"/v1/export-schedules/{schedule['id']}/drops")
    await dropper.work()
    await export_next(maintenance, "m1", ROOM)
    await maintenance.execute("DELETE FROM export_part")
    await pool.execute("UPDATE export_drop SET next_at = now()")
    await dropper.work()
    (gone,) = await receipts(client, schedule)
    await again(pool)
    await work(dropper, maintenance)
    (done,) = await receipts(client, schedule)

    assert (gone["state"], gone["attempts"], done["state"]) == ("waiting", 1, "done")
