import asyncio
from typing import Any

import pytest

from core.messages import topics
from lab.chaos.checks import CounterWatch
from lab.chaos.watch import Watch

NOBODY: Any = None


def watch(*looks: tuple[float, bool]) -> Watch:
    return Watch(NOBODY, NOBODY, CounterWatch(1), _looks=list(looks))


def test_recovery_ends_with_the_first_look_after_which_all_goes_well() -> None:
    seen = watch((0.5, True), (1.0, False), (1.5, False), (2.0, True), (2.5, True), (5.0, True))

    assert seen.recovery_s(0.0) == 2.0


def test_a_moment_between_two_bad_ones_is_no_recovery() -> None:
    seen = watch((0.5, False), (1.0, True), (1.5, False), (4.0, True), (6.6, True))

    assert seen.recovery_s(0.0) == 4.0


def test_without_a_good_look_there_was_no_recovery() -> None:
    assert watch((0.5, False), (1.0, False)).recovery_s(0.0) is None


class Waiting:
    """Two streams with so many messages together, and a newest reading, by default of this moment."""

    def __init__(self, messages: int, lag_s: float = 0.1) -> None:
        self._messages, self._lag_s = messages, lag_s

    async def stream_messages(self, stream: str) -> int:
        return self._messages if stream == topics.FRAMES else 0

    async def fetchval(self, _statement: str) -> float:
        return self._lag_s

    async def fetch(self, _statement: str, _tenant_id: int) -> list[Any]:
        return []


async def looked_at(looking: Watch) -> bool:
    """What one look finds."""
    watching = asyncio.create_task(looking.run())
    await asyncio.sleep(0.05)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    return looking._looks[-1][1]


@pytest.mark.parametrize(("messages", "keeps_up"), [(0, True), (1, False)])
async def test_once_the_load_has_ended_empty_streams_are_what_counts(messages: int, keeps_up: bool) -> None:
    stack: Any = Waiting(messages, lag_s=300.0)  # Cabinets speak every few minutes.
    looking = Watch(stack, stack, CounterWatch(1))

    assert not await looked_at(looking)
    looking.load_ended()
    assert await looked_at(looking) == keeps_up


@pytest.mark.parametrize(
    ("messages", "bridges", "keeps_up"),
    [(60, 1, True), (61, 1, False), (61, 2, True), (120, 2, True), (121, 2, False)],
)
async def test_each_bridge_has_batches_of_its_own_in_hand(messages: int, bridges: int, keeps_up: bool) -> None:
    stack: Any = Waiting(messages)

    assert await looked_at(Watch(stack, stack, CounterWatch(1), bridges=bridges)) is keeps_up
