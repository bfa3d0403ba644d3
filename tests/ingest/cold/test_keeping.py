import errno
import io
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.runtime.postgres import Pool, PostgresError, connect
from ingest.chunks import list_chunks
from ingest.cold.files import ColdFailure, read_file
from ingest.exports import runner
from ingest.maintenance.cold_erasing import erase_from_files
from ingest.maintenance.cold_keeping import ColdFolder
from ingest.maintenance.retention import Term
from ingest.rollups import roll_up
from registry.erasures import erase_again
from tests.ingest.cold.cold_world import KEYS, NOW, Cold, ago, tenant_of

TERM = Term("measurement", 36, 12)
EDGE = timedelta(minutes=10)


async def left(pool: Pool, datastream: int) -> int:
    return await pool.fetchval("SELECT count(*) FROM observation.measurement WHERE datastream_id = $1", datastream)


async def test_what_is_dropped_is_exported_as_before_and_personal_data_is_not_in_a_file(
    pool: Pool, measuring, cold: Cold
) -> None:
    one, two = await measuring.datastreams("temperature", 2, privacy_class=1)
    [personal] = await measuring.datastreams("water_volume", privacy_class=2)
    for stream in (one, two, personal):
        await measuring.write(*((stream, ago(d), d / 8, int(d) & 1) for d in (10, 400, 1200, 1201, 1207, 1300)))
    await roll_up(pool)
    tenant = await tenant_of(pool, one)
    before = await cold.rows(tenant, [two, one])
    parquet = await cold.export(tenant, [two, one], form="parquet")

    cold_files = await cold.forget(TERM)

    assert cold_files.failure is None
    assert [await left(pool, stream) for stream in (one, two, personal)] == [2, 2, 1]
    rows = await pool.fetch("SELECT * FROM observation.cold_file ORDER BY since")
    assert [row["readings"] for row in rows] in ([2, 6], [2, 2, 4], [2, 4, 2])
    assert {tuple(row["classes"]) for row in rows} == {(1,)}
    assert {stream for row in rows for stream in row["datastream_ids"]} == {one, two}
    assert cold.files() == sorted(row["name"] for row in rows)
    assert await cold.rows(tenant, [two, one]) == before
    assert len(before) == 12
    assert await cold.rows(tenant, [personal]) == [(personal, ago(10), 1.25, "")]

    pq = pytest.importorskip("pyarrow.parquet")
    now = pq.read_table(io.BytesIO(await cold.export(tenant, [two, one], form="parquet")))
    assert now.to_pydict() == pq.read_table(io.BytesIO(parquet)).to_pydict()


async def test_what_changes_between_file_and_drop_is_written_again(pool: Pool, measuring, cold: Cold) -> None:
    one, two = await measuring.datastreams("temperature", 2, privacy_class=0)
    for stream in (one, two):
        await measuring.write(*((stream, ago(1300) + n * EDGE, n, 0) for n in range(4)))
    await roll_up(pool)
    tenant = await tenant_of(pool, one)
    cold_files = ColdFolder(cold.pool, cold.folder)
    await cold_files.begin()
    [chunk] = await list_chunks(cold.pool, "measurement", 36, NOW)
    await cold_files.write_missing(chunk)
    [former] = cold.files()
    await pool.execute("UPDATE observation.measurement SET value = 99 WHERE datastream_id = $1 AND value = 2", one)
    await pool.execute("DELETE FROM observation.measurement WHERE datastream_id = $1 AND value = 3", two)
    await pool.execute("INSERT INTO observation.measurement VALUES ($1, $2, 7, 1)", two, ago(1300) + 5 * EDGE)
    before = await cold.rows(tenant, [one, two])

    ended = await cold.forget(TERM)

    assert ended.failure is None
    assert [row[2:] for row in before] == [
        (0, ""), (1, ""), (99, ""), (3, ""), (0, ""), (1, ""), (2, ""), (7, "suspect")
    ]  # fmt: skip
    assert (await cold.rows(tenant, [one, two]), await left(pool, one)) == (before, 0)
    assert former not in cold.files()


async def test_what_comes_late_is_not_there_twice_and_the_file_has_the_first_say(
    pool: Pool, measuring, cold: Cold
) -> None:
    [one] = await measuring.datastreams("temperature", privacy_class=0)
    await measuring.write(*((one, ago(1300) + n * EDGE, n, 0) for n in range(3)), (one, ago(1), 9.0, 0))
    await roll_up(pool)
    tenant = await tenant_of(pool, one)
    before = await cold.rows(tenant, [one])
    await cold.forget(TERM)
    await measuring.write((one, ago(1300) + EDGE, 50.0, 0), (one, ago(1300) + EDGE / 2, 60.0, 0))

    late = await cold.rows(tenant, [one])
    await roll_up(pool)

    assert [row[2] for row in late] == [0, 60, 1, 2, 9]
    assert await cold.rows(tenant, [one]) == before


async def test_of_a_chunk_that_personal_data_outlives_the_rest_goes_into_files(
    pool: Pool, measuring, cold: Cold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.maintenance.retention.MOST_AT_ONCE", 2)
    public = await measuring.datastreams("temperature", 5, privacy_class=1)
    [personal] = await measuring.datastreams("water_volume", privacy_class=2)
    for stream in (*public, personal):
        await measuring.write(*((stream, ago(days), days, 0) for days in (10, 300, 310)))
    await roll_up(pool)
    tenant = await tenant_of(pool, personal)
    before = await cold.rows(tenant, [*public, personal])

    for months in (6, 6, 3):
        ended = await cold.forget(Term("measurement", months, 12))
        assert ended.failure is None
        assert await cold.rows(tenant, [*public, personal]) == before

    assert [await left(pool, stream) for stream in (*public, personal)] == [1, 1, 1, 1, 1, 3]
    assert {
        one for row in await pool.fetch("SELECT datastream_ids FROM observation.cold_file") for one in row[0]
    } == {*public}


async def test_what_becomes_personal_leaves_the_files(pool: Pool, measuring, cold: Cold) -> None:
    [one] = await measuring.datastreams("temperature", privacy_class=0)
    [two] = await measuring.datastreams("temperature", privacy_class=0)
    for stream in (one, two):
        await measuring.write((stream, ago(1300), 5.0, 0), (stream, ago(1), 6.0, 0))
    await roll_up(pool)
    tenant = await tenant_of(pool, one)
    await cold.forget(TERM)
    await pool.execute(
        "UPDATE asset SET privacy_class = 2 WHERE id = (SELECT asset_id FROM datastream WHERE id = $1)", one
    )

    at_once = await cold.rows(tenant, [one, two])
    await cold.forget(TERM)

    assert [row[0] for row in at_once] == [one, two, two]
    assert await pool.fetchval("SELECT datastream_ids FROM observation.cold_file") == [two]
    assert [part.ids.tolist() for part in read_file(cold.folder / cold.files()[0], None)] == [[two]]


async def test_an_erasure_takes_a_device_out_of_the_files(pool: Pool, measuring, cold: Cold) -> None:
    [one] = await measuring.datastreams("temperature", privacy_class=0)
    [two] = await measuring.datastreams("temperature", privacy_class=0)
    for stream in (one, two):
        await measuring.write(*((stream, ago(days), days, 0) for days in (1400, 1300, 1200, 1)))
    await roll_up(pool)
    tenant = await tenant_of(pool, one)
    second = await pool.fetchval("SELECT device_id FROM datastream WHERE id = $1", two)
    await cold.forget(TERM)

    await cold.erase(pool, tenant, "device", second)

    [erasure] = await pool.fetch("SELECT state, counts FROM erasure")
    assert erasure["state"] == "done"
    assert erasure["counts"]["observation.cold_file"] == 3
    assert [row[2] for row in await cold.rows(tenant, [one])] == [1400, 1300, 1200, 1]
    ids = {
        one for name in cold.files() for part in read_file(cold.folder / name, None) for one in part.ids.tolist()
    }
    assert ids == {one}


async def test_an_erasure_that_a_restore_does_again_ends_once_the_files_are_rid_of_it(
    database, pool: Pool, measuring, cold: Cold
) -> None:
    [one] = await measuring.datastreams("temperature", privacy_class=0)
    [two] = await measuring.datastreams("temperature", privacy_class=0)
    for stream in (one, two):
        await measuring.write(*((stream, ago(days), days, 0) for days in (1400, 1300, 1)))
    await roll_up(pool)
    tenant = await tenant_of(pool, one)
    second = await pool.fetchval("SELECT device_id FROM datastream WHERE id = $1", two)
    await cold.forget(TERM)
    await cold.ask_to_erase(pool, tenant, "device", second)

    owner = await connect(database.admin_url)
    await erase_again(owner, KEYS, [])
    await owner.close()

    assert await pool.fetchval("SELECT state FROM erasure") == "settling"
    for _ in range(2):
        await cold.eraser().work()
    [erasure] = await pool.fetch("SELECT state, counts FROM erasure")
    assert (erasure["state"], erasure["counts"]["observation.cold_file"]) == ("done", 2)
    assert {id_ for name in cold.files() for part in read_file(cold.folder / name, None) for id_ in part.ids} == {
        one
    }
    assert [row[2] for row in await cold.rows(tenant, [one])] == [1400, 1300, 1]


async def test_an_erasure_that_waits_for_the_folder_keeps_no_other_waiting(
    pool: Pool, measuring, cold: Cold
) -> None:
    [one] = await measuring.datastreams("temperature", privacy_class=0)
    await measuring.write(*((one, ago(days), days, 0) for days in (1400, 1)))
    await roll_up(pool)
    tenant = await tenant_of(pool, one)
    device = await pool.fetchval("SELECT device_id FROM datastream WHERE id = $1", one)
    await cold.forget(TERM)
    await cold.ask_to_erase(pool, tenant, "device", device)
    other = await pool.fetchval(
        "INSERT INTO erasure (tenant_id, kind, subject_id, reason, requested_by, state) "
        "VALUES ($1, 'device', 1000000, 'essai', 'essai', 'running') RETURNING id",
        tenant,
    )
    eraser = cold.eraser()
    eraser.cold_folder = None

    with pytest.raises(ColdFailure):
        await eraser.work()

    assert await pool.fetchval("SELECT state FROM erasure WHERE id = $1", other) == "settling"


async def test_an_erasure_of_a_period_leaves_the_others(pool: Pool, measuring, cold: Cold) -> None:
    [one] = await measuring.datastreams("temperature", privacy_class=0)
    await measuring.write(*((one, ago(1300) + n * EDGE, n, 0) for n in range(6)))
    await roll_up(pool)
    tenant = await tenant_of(pool, one)
    await cold.forget(TERM)
    erasure = await pool.fetchval(
        "INSERT INTO erasure (tenant_id, kind, subject_id, reason, requested_by, state, span_datastream_ids, "
        "span_device_ids, span_during) VALUES ($1, 'device', 1, 'essai', 'essai', 'running', $2, '{NULL}', "
        "ARRAY[tstzrange($3, $4, '(]')]) RETURNING id",
        *(tenant, [one], ago(1300) + EDGE, ago(1300) + 3 * EDGE),
    )

    for _ in range(2):
        await erase_from_files(cold.pool, cold.folder, erasure)

    assert [row[2] for row in await cold.rows(tenant, [one])] == [0, 1, 4, 5]
    assert (await pool.fetchval("SELECT counts FROM erasure"))["observation.cold_file"] == 2


async def test_a_restored_database_finds_what_the_folder_has_since(pool: Pool, measuring, cold: Cold) -> None:
    one, two = await measuring.datastreams("temperature", 2, privacy_class=0)
    for stream in (one, two):
        await measuring.write((stream, ago(1300), 5.0, 0))
    await roll_up(pool)
    tenant = await tenant_of(pool, one)
    await cold.forget(TERM)
    [backup] = await pool.fetch("SELECT name, readings, datastream_ids FROM observation.cold_file")
    await pool.execute("DELETE FROM observation.measurement")
    cold_files = ColdFolder(cold.pool, cold.folder)
    [file] = await pool.fetch("SELECT id FROM observation.cold_file")
    octets = (cold.folder / backup["name"]).read_bytes()
    await cold_files.rewrite(file["id"], lambda part: part.ids == two)
    [now] = cold.files()
    older = cold.folder / f"{backup['name'].rpartition('-')[0]}-{0:016x}.parquet"
    older.write_bytes(octets)
    os.utime(older, (0, 0))
    await pool.execute(
        "UPDATE observation.cold_file SET name = $1, readings = $2, datastream_ids = $3",
        *(backup["name"], backup["readings"], backup["datastream_ids"]),
    )

    with pytest.raises(AssertionError, match="recommencez plus tard"):
        await cold.rows(tenant, [one, two])
    await cold_files.begin()

    assert cold_files.failure is None
    assert [row[0] for row in await cold.rows(tenant, [one, two])] == [one]
    assert (cold.files(), now == backup["name"]) == ([now], False)
    assert await pool.fetchval("SELECT datastream_ids FROM observation.cold_file") == [one]


async def test_what_the_folder_refuses_keeps_the_chunk_and_personal_data_still_goes(
    pool: Pool, measuring, cold: Cold, monkeypatch: pytest.MonkeyPatch
) -> None:
    [public] = await measuring.datastreams("temperature", privacy_class=1)
    [personal] = await measuring.datastreams("water_volume", privacy_class=2)
    for stream in (public, personal):
        await measuring.write(*((stream, ago(days), days, 0) for days in (1300, 1200, 10)))
    await roll_up(pool)
    tenant = await tenant_of(pool, public)

    async def passes() -> tuple[str, int, int]:
        cold_files = await cold.forget(TERM)
        row = await cold.pool.fetchrow("SELECT reason, chunks, failed_since FROM observation.cold_state")
        assert (row["reason"] is None) == (cold_files.failure is None) == (row["failed_since"] is None)
        return row["reason"], row["chunks"], await left(pool, public)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("ingest.cold.files.os.fsync", full)
        assert await passes() == ("full", 2, 3)
    assert (await left(pool, personal), cold.files()) == (1, [])
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(cold, "folder", cold.folder / "absent")
        assert await passes() == ("missing", 2, 3)
    with monkeypatch.context() as extra:
        extra.setattr("ingest.cold.files.find_spec", lambda name: None)
        assert await passes() == ("extra", 2, 3)
    mark = (cold.folder / ".territoire-froid").read_text()
    (cold.folder / ".territoire-froid").write_text("d'une autre\n")
    assert await passes() == ("foreign", 2, 3)
    (cold.folder / ".territoire-froid").write_text(mark)
    assert await passes() == (None, 0, 1)
    # A volume that is not mounted leaves an empty folder: nothing is put there.
    (cold.folder / ".territoire-froid").rename(cold.folder.parent / "mark")
    with pytest.raises(AssertionError, match="recommencez plus tard"):
        await cold.rows(tenant, [public])
    assert (await passes())[0] == "missing"


async def test_a_damaged_file_keeps_its_chunk_or_is_told(pool: Pool, measuring, cold: Cold) -> None:
    [one] = await measuring.datastreams("temperature", privacy_class=1)
    await measuring.write(*((one, ago(1300) + n * EDGE, n, 0) for n in range(500)))
    await roll_up(pool)
    tenant = await tenant_of(pool, one)
    before = await cold.rows(tenant, [one])
    cold_files = ColdFolder(cold.pool, cold.folder)
    await cold_files.begin()
    chunks = await list_chunks(cold.pool, "measurement", 36, NOW)
    for chunk in chunks:
        await cold_files.write_missing(chunk)
    for name in cold.files():
        _damage(cold.folder / name)

    await cold.forget(TERM)

    assert (await cold.rows(tenant, [one]), await left(pool, one)) == (before, 0)
    _damage(cold.folder / cold.files()[0])
    with pytest.raises(AssertionError, match="recommencez plus tard"):
        await cold.rows(tenant, [one])


def _damage(path: Path) -> None:
    octets = bytearray(path.read_bytes())
    octets[60] ^= 0xFF
    path.write_bytes(octets)


async def test_a_share_reads_its_period_of_the_files_and_nobody_else_anything(
    pool: Pool, measuring, cold: Cold
) -> None:
    one, two = await measuring.datastreams("temperature", 2, privacy_class=1)
    for stream in (one, two):
        await measuring.write(*((stream, ago(1300) + n * EDGE, n, 0) for n in range(6)), (stream, ago(1), 9.0, 0))
    await roll_up(pool)
    tenant = await tenant_of(pool, one)
    guest, stranger = [
        await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ($1, $1) RETURNING id", slug)
        for slug in ("invite", "autre")
    ]
    for since, until, bounds in ((1, 3, "[)"), (3, 4, "(]")):
        grant = await pool.fetchval(
            "INSERT INTO access_grant (tenant_id, offered_slug, asset_id, role, valid, data, granted_by) "
            "SELECT $1, 'invite', asset_id, 'reader', '(,)', tstzrange($3, $4, $5), 'x' "
            "FROM datastream WHERE id = $2 RETURNING id",
            *(tenant, one, ago(1300) + since * EDGE, ago(1300) + until * EDGE, bounds),
        )
        await pool.execute(
            "UPDATE access_grant SET grantee_id = offered_to, accepted_at = now() WHERE id = $1", grant
        )
    before = [await cold.rows(whose, [two, one]) for whose in (tenant, guest, stranger)]

    await cold.forget(TERM)

    assert [row[2] for row in before[1]] == [1, 2, 4] * 2
    assert before[2] == []
    assert [await cold.rows(whose, [two, one]) for whose in (tenant, guest, stranger)] == before


async def test_the_api_cannot_know_of_files(pool: Pool) -> None:
    for table in ("cold_file", "cold_file_replaced", "cold_state"):
        for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE"):
            assert not await pool.fetchval(
                "SELECT has_table_privilege('territoire_api', $1::text, $2)", f"observation.{table}", privilege
            )


@pytest.mark.parametrize("months", [36, 6])
async def test_an_export_sees_one_instant_also_while_chunks_and_rows_go(
    pool: Pool, measuring, cold: Cold, monkeypatch: pytest.MonkeyPatch, months: int
) -> None:
    one, two = await measuring.datastreams("temperature", 2, privacy_class=1)
    for stream in (one, two):
        await measuring.write(*((stream, ago(days), days, 0) for days in (1300, 1200, 300, 10)))
    await roll_up(pool)
    tenant = await tenant_of(pool, one)
    await cold.forget(Term("measurement", 40, 12))
    before = await cold.rows(tenant, [one, two])
    read_cold = runner.read_cold
    meanwhile: list[bool] = []

    async def read_then_forget(*values: Any) -> Any:
        found = await read_cold(*values)
        try:
            await cold.forget(Term("measurement", months, 12))
        except PostgresError:  # The chunk is held: the next pass takes it.
            meanwhile.append(False)
        else:
            meanwhile.append(True)
        return found

    monkeypatch.setattr(runner, "read_cold", read_then_forget)

    assert await cold.rows(tenant, [one, two]) == before
    assert months != 36 or not all(meanwhile)
    monkeypatch.undo()
    await cold.forget(Term("measurement", months, 12))
    assert (await cold.rows(tenant, [one, two]), await left(pool, one)) == (before, 2 if months == 36 else 1)
