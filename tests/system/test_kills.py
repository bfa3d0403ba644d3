"""kill -9 of each process while a fleet is on the air: from the bus on, nothing is lost and nothing is doubled."""

import asyncio

import pytest

from services.simulator.account import Kill

AFTER_S = 7

# One stack serves every test of this folder.
pytestmark = pytest.mark.xdist_group("stack")


@pytest.mark.parametrize(
    "victim", ["network", "ingest", "nats", "postgres", "alerting", "gateway_bridge", "mosquitto"]
)
async def test_a_kill_loses_and_doubles_nothing(play, victim: str) -> None:
    await play.until_on_air()
    await asyncio.sleep(3)
    before = len(play.fleet.sent)
    killed_at = play.stack.kill(victim)
    await asyncio.sleep(AFTER_S)

    account = await play.settle([Kill(killed_at, play.cut_off_by(victim))])

    assert account.balances, (account, play.stack.log(victim))
    assert account.heard > before
    assert account.left_out < account.heard / 2
