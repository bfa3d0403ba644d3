"""An erasure is done once no file of the folder holds what it erased, whatever stopped it on the way."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from core.runtime.postgres import Pool, connect
from ingest.cold import files
from ingest.cold.files import ColdFailure
from ingest.maintenance.cold_erasing import erase_from_files
from ingest.maintenance.cold_keeping import ColdFolder
from ingest.maintenance.retention import Term
from ingest.rollups import roll_up
from registry.erasures import erase_again
from tests.ingest.cold.cold_world import KEYS, Cold, ago, tenant_of

TERM = Term("measurement", 36, 12)
EDGE = timedelta(minutes=10)


class Killed(BaseException):
    """What nobody catches."""


async def state_of_erasure(pool: Pool) -> str:
    return await pool.fetchval("SELECT state FROM erasure")


async def erasure_of_a_period(pool: Pool, tenant: int, datastream: int) -> int:
    """One that takes out the third and the fourth reading."""
    return await pool.fetchval(
        "INSERT INTO erasure (tenant_id, kind, subject_id, reason, requested_by, state, span_datastream_ids, "
        "span_device_ids, span_during) VALUES ($1, 'device', 1, 'essai', 'essai', 'running', $2, '{NULL}', "
        "ARRAY[tstzrange($3, $4, '(]')]) RETURNING id",
        *(tenant, [datastream], ago(1300) + EDGE, ago(1300) + 3 * EDGE),
    )


def put_back(cold: Cold, saved: Path) -> None:
    """The disk is lost, and a copy takes its place."""
    shutil.rmtree(cold.folder)
    shutil.copytree(saved, cold.folder)


async def die_before_files_go(cold: Cold, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass of the eraser that is killed behind its commit, with what it replaced still in the folder."""

    async def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as process:
        process.setattr(ColdFolder, "_replaced", die)
        with pytest.raises(Killed):
            await cold.eraser().work()


async def ask_for_the_only_device_in_files(pool: Pool, measuring, cold: Cold) -> None:
    """A folder with one file, of a device that is to be erased."""
    [one] = await measuring.datastreams("temperature", privacy_class=1)
    await measuring.write((one, ago(1300), 5.0, 0))
    await roll_up(pool)
    await cold.forget(TERM)
    device = await pool.fetchval("SELECT device_id FROM datastream WHERE id = $1", one)
    await cold.ask_to_erase(pool, await tenant_of(pool, one), "device", device)
    assert len(cold.files()) == 1


async def test_an_erasure_waits_while_the_folder_refuses_to_remove_its_only_file(
    pool: Pool, measuring, cold: Cold, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask_for_the_only_device_in_files(pool, measuring, cold)

    def reject(root: Path, name: str) -> None:
        raise ColdFailure("denied", name)

    with monkeypatch.context() as folder:
        folder.setattr(files, "remove", reject)
        for _ in range(3):
            with pytest.raises(ColdFailure, match="denied"):
                await cold.eraser().work()
    waits = await state_of_erasure(pool)
    for _ in range(2):
        await cold.eraser().work()

    assert (waits, len(cold.files())) == ("running", 0)
    [erasure] = await pool.fetch("SELECT state, counts FROM erasure")
    assert (erasure["state"], erasure["counts"]["observation.cold_file"]) == ("done", 1)


async def test_an_erasure_killed_before_its_only_file_is_removed_removes_it_when_it_goes_on(
    pool: Pool, measuring, cold: Cold, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask_for_the_only_device_in_files(pool, measuring, cold)

    await die_before_files_go(cold, monkeypatch)
    killed = (await state_of_erasure(pool), len(cold.files()))
    for _ in range(2):
        await cold.eraser().work()

    assert killed == ("running", 1)
    assert (await state_of_erasure(pool), cold.files()) == ("done", [])


async def test_an_erasure_killed_with_its_only_file_in_the_folder_waits_for_a_folder_named_and_mounted(
    pool: Pool, measuring, cold: Cold, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask_for_the_only_device_in_files(pool, measuring, cold)

    await die_before_files_go(cold, monkeypatch)
    eraser, mount = cold.eraser(), cold.folder.with_name("monté")
    for folder, reason in ((None, "unset"), (mount, "missing")):
        mount.mkdir(exist_ok=True)
        eraser.cold_folder = folder
        with pytest.raises(ColdFailure, match=reason):
            await eraser.work()

    assert (await state_of_erasure(pool), len(cold.files()), list(mount.iterdir())) == ("running", 1, [])


async def test_a_file_that_a_kill_left_before_any_was_named_goes_with_the_erasure(
    pool: Pool, measuring, cold: Cold, monkeypatch: pytest.MonkeyPatch
) -> None:
    [one] = await measuring.datastreams("temperature", privacy_class=1)
    await measuring.write((one, ago(1300), 5.0, 0))
    await roll_up(pool)

    async def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as process:
        process.setattr("ingest.cold.store.record", die)
        with pytest.raises(Killed):
            await cold.forget(TERM)
    left = cold.files()
    device = await pool.fetchval("SELECT device_id FROM datastream WHERE id = $1", one)

    await cold.erase(pool, await tenant_of(pool, one), "device", device)

    assert [path.rpartition(".")[2] for path in left] == ["parquet"]
    assert (await state_of_erasure(pool), cold.files()) == ("done", [])


async def test_a_restore_leaves_an_erasure_to_who_has_the_folder_while_a_replaced_file_may_lie_there(
    database, pool: Pool, measuring, cold: Cold, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask_for_the_only_device_in_files(pool, measuring, cold)

    await die_before_files_go(cold, monkeypatch)
    owner = await connect(database.admin_url)
    await erase_again(owner, KEYS, [])
    await owner.close()
    restored = await state_of_erasure(pool)
    await cold.eraser().work()

    assert restored == "settling"
    assert (await state_of_erasure(pool), cold.files()) == ("done", [])


async def test_an_older_copy_of_the_folder_brings_nothing_back_that_was_erased_and_is_told(
    pool: Pool, measuring, cold: Cold
) -> None:
    one, two = await measuring.datastreams("temperature", 2, privacy_class=0)
    for stream in (one, two):
        await measuring.write(*((stream, ago(1300) + n * EDGE, n, 0) for n in range(6)))
    await roll_up(pool)
    tenant = await tenant_of(pool, one)
    await cold.forget(TERM)
    last_week, last_night = cold.folder.with_name("semaine"), cold.folder.with_name("nuit")
    shutil.copytree(cold.folder, last_week)
    erasure = await erasure_of_a_period(pool, tenant, one)
    await erase_from_files(cold.pool, cold.folder, erasure)
    shutil.copytree(cold.folder, last_night)

    put_back(cold, last_week)
    restored = await cold.forget(TERM)

    reason = await cold.pool.fetchval("SELECT reason FROM observation.cold_state")
    assert (restored.failure is not None, reason) == (True, "broken")
    with pytest.raises(AssertionError, match="recommencez plus tard"):
        await cold.rows(tenant, [two])
    with pytest.raises(ColdFailure, match="broken"):
        await erase_from_files(cold.pool, cold.folder, erasure)
    assert cold.files() == sorted(str(path.relative_to(last_week)) for path in last_week.glob("*/*"))

    put_back(cold, last_night)
    assert (await cold.forget(TERM)).failure is None
    assert [row[2] for row in await cold.rows(tenant, [one])] == [0, 1, 4, 5]
    assert [row[2] for row in await cold.rows(tenant, [two])] == [0, 1, 2, 3, 4, 5]


async def test_an_older_file_goes_once_the_one_that_is_lost_is_given_up(pool: Pool, measuring, cold: Cold) -> None:
    [one] = await measuring.datastreams("temperature", privacy_class=0)
    await measuring.write(*((one, ago(1300) + n * EDGE, n, 0) for n in range(6)))
    await roll_up(pool)
    tenant = await tenant_of(pool, one)
    await cold.forget(TERM)
    older = cold.folder.with_name("copie")
    shutil.copytree(cold.folder, older)
    await erase_from_files(cold.pool, cold.folder, await erasure_of_a_period(pool, tenant, one))
    put_back(cold, older)
    await cold.forget(TERM)

    await pool.execute("DELETE FROM observation.cold_file")
    again = await cold.forget(TERM)

    assert (again.failure, cold.files(), await cold.rows(tenant, [one])) == (None, [], [])


async def test_a_file_that_nobody_named_is_not_named_later_from_an_older_copy(
    pool: Pool, measuring, cold: Cold, monkeypatch: pytest.MonkeyPatch
) -> None:
    [one] = await measuring.datastreams("temperature", privacy_class=0)
    await measuring.write(*((one, ago(1300) + n * EDGE, n, 0) for n in range(6)))
    await roll_up(pool)
    tenant = await tenant_of(pool, one)

    async def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as process:
        process.setattr("ingest.cold.store.record", die)
        with pytest.raises(Killed):
            await cold.forget(TERM)
    older = cold.folder.with_name("copie")
    shutil.copytree(cold.folder, older)
    await pool.execute("UPDATE observation.measurement SET value = 99 WHERE datastream_id = $1 AND value = 5", one)
    await cold.forget(TERM)

    put_back(cold, older)
    again = await cold.forget(TERM)

    assert again.failure is not None
    with pytest.raises(AssertionError, match="recommencez plus tard"):
        await cold.rows(tenant, [one])
