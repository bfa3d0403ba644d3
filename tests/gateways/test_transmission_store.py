from datetime import UTC, datetime, timedelta

from core.runtime.postgres import Pool
from gateways.transmission_store import (
    read_transmissions,
    save_statuses,
    write_transmission,
)
from lorawan.airtime import Transmission
from lorawan.identifiers import GatewayId

GATEWAY = GatewayId(bytes.fromhex("0102030405060708"))
OTHER = GatewayId(bytes.fromhex("0102030405060709"))


def ledger_entry(minutes_ago: float) -> Transmission:
    start = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    return Transmission(int(start.timestamp()) * 1_000_000 + 17, 164_864, 869_525_000)


async def test_the_ledger_is_the_last_hour_of_what_may_have_been_emitted(pool: Pool) -> None:
    answered, silent, lost, refused, old = (ledger_entry(minutes) for minutes in (5, 10, 20, 30, 62))
    rows = [await write_transmission(pool, GATEWAY, made, 1, 0) for made in (answered, silent, lost, refused, old)]
    await write_transmission(pool, OTHER, answered, 1, 0)
    await save_statuses(pool, [(rows[0], "OK"), (rows[1], "NO_ACK"), (rows[3], "TOO_LATE"), (rows[4], "OK")])

    assert await read_transmissions(pool, GATEWAY) == [lost, silent, answered]


async def test_an_answer_without_a_downlink_row_names_none(pool: Pool) -> None:
    await write_transmission(pool, GATEWAY, ledger_entry(1), 0, 0)
    await write_transmission(pool, GATEWAY, ledger_entry(1), 1, 42)

    assert {row["downlink_id"] for row in await pool.fetch("SELECT downlink_id FROM transmission")} == {None, 42}
