import asyncio
import secrets
from pathlib import Path
from types import SimpleNamespace

import nats
import pytest
from nats.js.api import StreamConfig

from core.runtime.postgres import Pool, connect
from services.supervisor.mosquitto import BRIDGE, PrivateMosquitto
from services.supervisor.nats import PrivateNats, Room
from services.supervisor.postgres import PrivatePostgres, may_enter, server_account


async def test_a_database_is_a_migrated_copy_that_the_service_role_may_write(pool: Pool) -> None:
    await pool.execute("INSERT INTO tenant (slug, name) VALUES ('brest', 'Brest')")

    assert await pool.fetchval("SELECT current_user") == "territoire_service"
    assert await pool.fetchval("SELECT count(*) FROM tenant") == 1


async def test_the_next_test_sees_nothing_of_the_former_one(pool: Pool) -> None:
    assert await pool.fetchval("SELECT count(*) FROM tenant") == 0


async def test_the_api_role_logs_in_with_its_own_password(api_database_url: str) -> None:
    connection = await connect(api_database_url)
    user = await connection.fetchval("SELECT current_user")
    await connection.close()

    assert user == "territoire_api"


async def test_nats_starts_each_test_without_streams(nats_url: str) -> None:
    connection = await nats.connect(nats_url)
    try:
        before = await connection.jetstream().streams_info()
        await connection.jetstream().add_stream(StreamConfig(name="FRAMES", subjects=["frames.*"]))
    finally:
        await connection.close()

    assert before == []


async def test_nats_is_ready_only_under_its_own_name(nats_server: PrivateNats) -> None:
    stranger = PrivateNats(nats_server.folder, nats_server.port, nats_server.password, "somebody-else")

    assert await nats_server.ready()
    assert not await stranger.ready()


async def test_mosquitto_is_ready_only_to_those_who_know_its_password(mosquitto_server: PrivateMosquitto) -> None:
    stranger = PrivateMosquitto(mosquitto_server.folder, mosquitto_server.port, {BRIDGE: secrets.token_hex(16)})

    assert await mosquitto_server.ready()
    assert not await stranger.ready()


async def test_postgres_is_ready_only_for_its_own_folder(cluster, tmp_path: Path) -> None:
    server = cluster.server
    stranger = PrivatePostgres(tmp_path, server.port, server.password)

    assert await server.ready()
    assert not await stranger.ready()


@pytest.mark.starts_processes
async def test_nothing_answers_on_a_port_where_nobody_listens(tmp_path: Path, free_port: int) -> None:
    answers = await asyncio.gather(
        PrivatePostgres(tmp_path, free_port, "x").ready(),
        PrivateNats(tmp_path, free_port, "x", "x").ready(),
        PrivateMosquitto(tmp_path, free_port, {BRIDGE: "x"}).ready(),
    )

    assert answers == [False, False, False]


def test_a_closed_folder_may_not_be_entered_by_another_account(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    account = server_account()

    assert account is None or not may_enter(tmp_path / "pg", account)


def test_room_lasts_as_long_as_the_fastest_disk_takes_to_fill_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 MB are left in any case, 128 MB after it was short; 4 GB may be written in a second."""
    megabytes = iter((64 + 4096, 64 + 1024, 64, 63, 100, 128 + 512, 63))
    monkeypatch.setattr("os.statvfs", lambda _: SimpleNamespace(f_bavail=next(megabytes), f_frsize=1 << 20))
    room = Room(tmp_path)

    assert [room() for _ in range(7)] == [1.0, 0.25, 0.0, None, None, 0.125, None]
