"""A downlink's states: whatever writes a row, it goes where the table of transitions leads, and nowhere else."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from core.model.downlinks import TRANSITIONS, DownlinkReason, DownlinkState, ForbiddenTransition, check_transition
from core.runtime.postgres import Connection, Pool
from registry import downlinks
from registry.downlinks import LnsReport, Settlement
from tests.registry.test_tenancy import plant

# Said once more, by hand: what may follow what.
ALLOWED = {
    ("queued", "sending"),
    ("queued", "sent"),
    ("queued", "failed"),
    ("queued", "expired"),
    ("queued", "cancelled"),
    ("sending", "queued"),
    ("sending", "sent"),
    ("sending", "acknowledged"),
    ("sending", "failed"),
    ("sending", "expired"),
    ("sent", "queued"),
    ("sent", "acknowledged"),
    ("sent", "failed"),
}
STATES = ("queued", "sending", "sent", "acknowledged", "failed", "expired", "cancelled")
NOW = datetime.now(UTC)
AGO, AHEAD = NOW - timedelta(days=3), NOW + timedelta(hours=1)
SLOT, OTHER_LNS = 3, 16
INSERT = """
INSERT INTO downlink (tenant_id, device_id, slot, lns_source_id, f_port, payload, confirmed, not_after, state,
                      sent_at, lns_item, handed_at, attempts, updated_at)
SELECT $1, id, $2, $3, 1, '\\x01', true, $4, $5::text::downlink_state, $6, 'item', $7, $8, $6
FROM device WHERE tenant_id = $1 RETURNING id
"""
Write = Callable[[Connection, int, int, int], Awaitable[object]]


def settled(state: str) -> Write:
    return lambda c, row, _d, _s: downlinks.settle(c, Settlement(row, DownlinkState(state), "TX_FREQ"))


def reported(state: str) -> Write:
    report = LnsReport("item", state, DownlinkReason.LNS_REPORTED, "words", None, None, None)
    return lambda c, _row, _d, source: downlinks.report_of_lns(c, source, report)


# Every writer of a state, as it is called for a row, its device and its source.
WRITERS: dict[str, Write] = {
    "cancel_superseded": lambda c, row, _d, _s: downlinks.cancel_superseded(c, [row]),
    "expire": lambda c, _row, _d, _s: downlinks.expire(c, [SLOT]),
    "fail_silent": lambda c, _row, _d, _s: downlinks.fail_silent(c, [SLOT]),
    "retry_unacknowledged": lambda c, _row, d, _s: downlinks.retry_unacknowledged(c, [SLOT], [d], [NOW]),
    "retry_silent_class_c": lambda c, _row, _d, _s: downlinks.retry_silent_class_c(c, [SLOT]),
    "acknowledge_downlinks": lambda c, _row, d, _s: downlinks.acknowledge_downlinks(c, [SLOT, OTHER_LNS], [d]),
    "requeue_sending": lambda c, _row, _d, _s: downlinks.requeue_sending(c, [SLOT]),
    "mark_sending": lambda c, row, _d, _s: downlinks.mark_sending(c, [row]),
    "settle queued": settled("queued"),
    "settle sent": settled("sent"),
    "settle failed": settled("failed"),
    "sweep_lns": lambda c, _row, _d, _s: downlinks.sweep_lns(c),
    "take_due_of_lns": lambda c, _row, _d, source: downlinks.take_due_of_lns(c, source, short_items=False),
    "note_handed": lambda c, row, _d, _s: downlinks.record_handed_over(
        c, row, "item", "b", DownlinkReason.LNS_QUEUED
    ),
    "note_later": lambda c, row, _d, _s: downlinks.record_retry(
        c, row, "item", DownlinkReason.LNS_ANSWERED, "503", timedelta(seconds=5)
    ),
    "note_rejected": lambda c, row, _d, _s: downlinks.record_rejection(
        c, row, "item", DownlinkReason.LNS_ANSWERED, "404"
    ),
    "fail_of_source": lambda c, _row, _d, source: downlinks.fail_of_source(c, source),
} | {
    f"report {state}": reported(state)
    for state in ("sending", "sent", "acknowledged", "failed", "expired", "unacknowledged")
}


def test_the_table_of_transitions_is_the_one_that_was_meant() -> None:
    assert {(str(before), str(after)) for before, to in TRANSITIONS.items() for after in to} == ALLOWED
    assert set(TRANSITIONS) == set(DownlinkState)


@pytest.mark.parametrize(("before", "after"), list(product(DownlinkState, DownlinkState)))
def test_a_transition_that_is_not_in_the_table_is_rejected(before: DownlinkState, after: DownlinkState) -> None:
    if before is after or (before, after) in ALLOWED:
        check_transition(before, after)
        return
    with pytest.raises(ForbiddenTransition):
        check_transition(before, after)
    with pytest.raises(ForbiddenTransition):
        downlinks._leaving(before, to=[after])


@pytest.mark.parametrize("state", ["sending", "acknowledged", "expired", "cancelled"])
async def test_an_attempt_does_not_settle_in_a_state_that_it_cannot_come_to(pool: Pool, state: str) -> None:
    async with pool.acquire() as connection:
        with pytest.raises(ForbiddenTransition):
            await downlinks.settle(connection, Settlement(1, DownlinkState(state)))


async def test_no_writer_takes_a_row_where_the_table_does_not_lead_and_together_they_reach_all_of_it(
    pool: Pool,
) -> None:
    tenant_id, _ = await plant(pool, "metz")
    device_id = await pool.fetchval("SELECT id FROM device")
    await pool.execute("UPDATE device_profile SET device_class = 'C'")
    source_id = await pool.fetchval(
        "INSERT INTO lns_source (tenant_id, kind, transport, name, token_sha256) "
        "VALUES ($1, 'chirpstack', 'http', 's', sha256('x')) RETURNING id",
        tenant_id,
    )
    seen: dict[tuple[str, str], set[str]] = {}
    async with pool.acquire() as connection:
        for name, write in WRITERS.items():
            for state, is_ours, not_after, handed_at, attempts in product(
                STATES, (True, False), (AGO, AHEAD), (None, AGO), (0, 3)
            ):
                changing = connection.transaction()
                await changing.start()
                of_source = (SLOT, None) if is_ours else (OTHER_LNS, source_id)
                row_id = await connection.fetchval(
                    INSERT, tenant_id, *of_source, not_after, state, AGO, handed_at, attempts
                )
                await write(connection, row_id, device_id, source_id)
                after = await connection.fetchval("SELECT state::text FROM downlink WHERE id = $1", row_id)
                if after != state:
                    seen.setdefault((state, after), set()).add(name)
                await changing.rollback()

    assert {move: by for move, by in seen.items() if move not in ALLOWED} == {}
    assert set(seen) == ALLOWED
    leaving = {
        group: {before for (before, _), by in seen.items() if any(name.startswith(group) for name in by)}
        for group in ("report", "settle", "note_", "cancel", "expire")
    }
    assert leaving == {
        "report": {"sending", "sent"},
        "settle": {"queued", "sending"},
        "note_": {"sending"},
        "cancel": {"queued"},
        "expire": {"queued"},
    }


@pytest.mark.parametrize("state", STATES)
async def test_a_report_of_another_lns_is_of_a_row_in_its_hands_and_says_something_new(
    pool: Pool, state: str
) -> None:
    tenant_id, _ = await plant(pool, "metz")
    source_id = await pool.fetchval(
        "INSERT INTO lns_source (tenant_id, kind, transport, name, token_sha256) "
        "VALUES ($1, 'chirpstack', 'http', 's', sha256('x')) RETURNING id",
        tenant_id,
    )
    await pool.execute(INSERT, tenant_id, OTHER_LNS, source_id, AHEAD, state, AGO, AGO, 1)
    report = LnsReport("item", "sent", None, None, NOW, 7, None)
    async with pool.acquire() as connection:
        changed = await downlinks.report_of_lns(connection, source_id, report)

    assert [row.state for row in changed] == (["sent"] if state == "sending" else [])


async def test_a_word_of_a_gateway_that_is_no_reason_of_ours_is_kept_as_detail(pool: Pool) -> None:
    tenant_id, _ = await plant(pool, "metz")
    row_id = await pool.fetchval(INSERT, tenant_id, SLOT, None, AHEAD, "sending", AGO, None, 1)
    async with pool.acquire() as connection:
        await downlinks.settle(connection, Settlement(row_id, DownlinkState.QUEUED, "SUN_SPOTS"))
        odd = await downlinks.read_downlink(connection, row_id)
        await downlinks.settle(connection, Settlement(row_id, DownlinkState.QUEUED, "TX_FREQ"))
        known = await downlinks.read_downlink(connection, row_id)

    assert odd is not None
    assert known is not None
    assert (odd.reason, odd.detail) == (DownlinkReason.OTHER, "SUN_SPOTS")
    assert (known.reason, known.detail) == (DownlinkReason.TX_FREQ, None)
