"""The ledger of erasures: a line for each, whole or of no effect."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.runtime.postgres import Pool, connect
from registry.erasures import (
    ClosedLines,
    Entry,
    UnreadableLedger,
    append_to_ledger,
    digests_of,
    erase_again,
    is_closed,
    read_ledger,
    trouble_at_end,
)
from registry.keys import KeyWrap

AT = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)
KEYS = KeyWrap("kek-2", bytes(16), {"kek-1": bytes(range(16))})


def test_a_line_that_a_kill_cut_off_is_of_no_effect_and_written_again(tmp_path: Path) -> None:
    file = tmp_path / "effacements.jsonl"
    one, two = digests_of(KEYS, ["asset/1/5"]), digests_of(KEYS, ["asset/2/6", "device/3/7"])
    append_to_ledger(file, one, AT)
    whole = file.read_bytes()
    append_to_ledger(file, two, AT)
    file.write_bytes(file.read_bytes()[:-9])

    assert len(list(read_ledger(file))) == 1
    append_to_ledger(file, two, AT)
    append_to_ledger(file, one, AT)  # It is there.

    assert [len(entry.digests) for entry in read_ledger(file)] == [1 + 1, 2 + 1]  # The key is named.
    assert file.read_bytes().startswith(whole)
    file.write_bytes(b"{}\n")
    with pytest.raises(UnreadableLedger, match="ligne 1"):
        list(read_ledger(file))


def test_a_whole_line_without_its_end_is_read_told_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "effacements.jsonl"
    one, two, three = (digests_of(KEYS, [f"asset/{number}/5"]) for number in (1, 2, 3))
    append_to_ledger(file, one, AT)
    append_to_ledger(file, two, AT)
    assert trouble_at_end(file) is None
    file.write_bytes(file.read_bytes().rstrip())

    said = trouble_at_end(file)
    read = [entry.digests for entry in read_ledger(file)]
    append_to_ledger(file, two, AT)  # It is there.
    append_to_ledger(file, three, AT)

    written = [[octets.hex() for octets in digests] for digests in (one, two, three)]
    assert (said or "").endswith("elle est entière, et lue")
    assert read == written[:2]
    assert [entry.digests for entry in read_ledger(file)] == written
    assert trouble_at_end(file) is None


def test_a_line_cut_off_at_any_octet_is_not_read_and_told(tmp_path: Path) -> None:
    file = tmp_path / "effacements.jsonl"
    append_to_ledger(file, digests_of(KEYS, ["asset/1/5"]), AT)
    first = file.read_bytes()
    append_to_ledger(file, digests_of(KEYS, ["asset/2/6"]), AT)
    whole = file.read_bytes()

    for length in range(len(first) + 1, len(whole) - 1):
        file.write_bytes(whole[:length])
        assert len(list(read_ledger(file))) == 1
        assert "est coupée, et n'est pas lue" in (trouble_at_end(file) or "")
    file.write_bytes(b"")
    assert trouble_at_end(file) is None


def test_a_digest_is_known_under_a_former_key_and_tells_a_number_that_was_drawn_again() -> None:
    former, _ = digests_of(KeyWrap("kek-1", bytes(range(16))), ["asset/1/5"])

    assert former in KEYS.fingerprints("erasure", b"asset/1/5")
    assert former not in KEYS.fingerprints("erasure", b"asset/1/6")


OF_THEN = KeyWrap("kek-1", bytes(range(16)))


async def a_device(pool: Pool, measuring) -> tuple[int, str]:
    """Of a backup: its id, and how the ledger names it."""
    [one] = await measuring.datastreams("temperature", privacy_class=1)
    row = await pool.fetchrow(
        "SELECT v.id, (extract(epoch FROM v.created_at) * 1000000)::bigint AS created "
        "FROM device v JOIN datastream d ON d.device_id = v.id WHERE d.id = $1",
        one,
    )
    return row["id"], f"device/{row['id']}/{row['created']}"


async def devices_left(pool: Pool) -> int:
    return await pool.fetchval("SELECT count(*) FROM device")


async def test_a_line_under_a_key_of_after_the_backup_is_told_with_the_secrets_of_its_day(
    database, pool: Pool, measuring, tmp_path: Path
) -> None:
    _, other = await a_device(pool, measuring)
    _, erased = await a_device(pool, measuring)
    ledger = tmp_path / "effacements.jsonl"
    append_to_ledger(ledger, digests_of(OF_THEN, [other]), AT)
    append_to_ledger(ledger, digests_of(KEYS, [erased]), AT)
    entries = list(read_ledger(ledger))
    owner = await connect(database.admin_url)

    # What can be opened is erased; that it is not all is said.
    with pytest.raises(ClosedLines) as closed:
        await erase_again(owner, OF_THEN, entries)
    left = await devices_left(pool)
    both = await erase_again(owner, KEYS, entries)
    await owner.close()

    assert [entry.key and entry.key[0] for entry in entries] == ["kek-1", "kek-2"]
    assert "1 ligne est sous une clé qui manque ici (kek-2)" in closed.value.french
    assert "secrets.json" in closed.value.french
    assert (left, both.done, await devices_left(pool)) == (1, 1, 0)


async def test_a_line_under_a_key_that_was_retired_is_no_trouble_where_the_backup_knows_it(
    database, pool: Pool, measuring
) -> None:
    _, erased = await a_device(pool, measuring)
    digests = digests_of(OF_THEN, [erased])
    await pool.execute(
        "INSERT INTO erasure (tenant_id, kind, subject_id, reason, requested_by, state, digests) "
        "SELECT id, 'device', 1, 'demande', 'essai', 'done', $1 FROM tenant LIMIT 1",
        digests,
    )
    entry = Entry(AT, [one.hex() for one in digests])
    owner = await connect(database.admin_url)

    again = await erase_again(owner, KeyWrap("kek-3", bytes(16)), [entry])
    await owner.close()

    assert tuple(again) == (0, 0)


def test_another_key_of_the_same_name_is_another_key() -> None:
    entry = Entry(AT, [one.hex() for one in digests_of(KeyWrap("kek-1", bytes([9]) * 16), ["asset/1/5"])])
    of_before = Entry(AT, ["00" * 16])

    assert is_closed(entry, KEYS)
    assert (of_before.key, is_closed(of_before, KEYS)) == (None, False)
