"""Several replicas under load. One is harmed and comes back: its shards move within ten seconds, and that is all.

`territoire chaos` does this to a whole stack by kill and by freezing; here one replica alone loses its way to the
bus or to the database, too.
"""

import signal
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest

from tests.network.conftest import MachineClock, Network
from tests.network.replicas import MOVED_WITHIN_S, Replica, ReplicaScenario, open_replicas

NAMES = ("one", "two", "three")
VICTIM, *OTHERS = NAMES

Act = Callable[[Replica], Awaitable[None]]


async def kill(replica: Replica) -> None:
    assert replica.process is not None
    replica.process.send_signal(signal.SIGKILL)
    await replica.process.wait()


async def start_again(replica: Replica) -> None:
    await replica.start()


async def freeze(replica: Replica) -> None:
    assert replica.process is not None
    replica.process.send_signal(signal.SIGSTOP)


async def thaw(replica: Replica) -> None:
    assert replica.process is not None
    replica.process.send_signal(signal.SIGCONT)


async def cut_from_bus(replica: Replica) -> None:
    replica.to_bus.cut()


async def cut_from_database(replica: Replica) -> None:
    replica.to_database.cut()


async def mend(replica: Replica) -> None:
    replica.to_bus.mend()
    replica.to_database.mend()


@pytest.fixture
def clock() -> MachineClock:
    return MachineClock()


@pytest.fixture
async def replicas(idle_network: Network) -> AsyncGenerator[ReplicaScenario]:
    async with open_replicas(idle_network, NAMES) as opened:
        yield opened


HARMS: tuple[tuple[Act, Act], ...] = (
    (kill, start_again),
    (freeze, thaw),
    (cut_from_bus, mend),
    (cut_from_database, mend),
)


@pytest.mark.timeout(600)
async def test_a_replica_that_is_harmed_under_load_in_each_way_loses_its_shards_and_nothing_else(
    replicas: ReplicaScenario,
) -> None:
    """One way after the other: the replicas are those that came through the one before."""
    victim = replicas.replicas[VICTIM]
    for harm, heal in HARMS:
        way = harm.__name__
        before, answered = len(replicas.sent), sum(map(len, replicas.said.values()))
        async with replicas.on_the_air():
            await harm(victim)
            await replicas.shared_by(*OTHERS, within_s=MOVED_WITHIN_S)
            moved = len(replicas.sent)
            await heal(victim)
            await replicas.shared_by(*NAMES)
        await replicas.everything_done()

        assert moved > before, way
        # No frame is lost, none is published that was not sent, none under two keys.
        assert set(replicas.keys) == replicas.sent, way
        assert [key for key, ids in replicas.keys.items() if len(ids) != 1] == [], way
        # Neither counter of a session was ever seen lower than before, and no FCntDown was used for two frames.
        assert replicas.watch.went_back == 0, way
        assert sum(map(len, replicas.said.values())) > answered, way
        assert replicas.downlinks_that_were_reused() == [], way
