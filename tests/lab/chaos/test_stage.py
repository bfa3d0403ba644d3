"""A case that the stack leaves without an answer is a failed one with a reason, and the next one is played."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from core.runtime.bus_connection import BusDenied
from core.runtime.postgres import PostgresError
from lab.chaos.case import Case
from lab.chaos.checks import CounterWatch, LogWatch
from lab.chaos.scene import Scene
from lab.chaos.stage import Stage

AWAY = PostgresError("terminating connection")


class NoPool:
    async def fetch(self, *_: object, **__: object) -> object:
        raise AWAY

    fetchval = fetch

    def acquire(self) -> object:
        raise AWAY


class NoBus:
    """Its streams are empty, once it has answered what it is to answer first."""

    answers: Iterator[Exception] = iter(())

    async def stream_messages(self, _stream: str) -> int:
        for answer in self.answers:
            raise answer
        return 0


class Nobody:
    run = SimpleNamespace(services=(), replicas=lambda _: list[object]())  # pyright: ignore[reportUnknownLambdaType]

    async def until_ready(self, _within_s: float) -> list[str]:
        return []


class Silence:
    sent_count = 0
    sent: tuple[()] = ()
    uptimes: dict[bytes, object] = {}  # noqa: RUF012

    async def play(self, _rate: float, _seconds: float) -> None:
        return


def bare_stage() -> Stage:
    nobody, pool, bus, silence = (cast(Any, one) for one in (Nobody(), NoPool(), NoBus(), Silence()))
    return Stage(nobody, pool, bus, silence, 20.0, {}, CounterWatch(1), LogWatch())


@pytest.mark.parametrize(
    ("raised", "why"),
    [
        (httpx.ConnectError("nobody listens"), "ConnectError nobody listens"),
        (
            PostgresError("the database system is shutting down"),
            "PostgresError the database system is shutting down",
        ),
        (BusDenied("uplinks.1"), "BusDenied the bus denies this login uplinks.1"),
        (KeyError("token"), "KeyError 'token'"),
        (TimeoutError(), "la pile n'a pas fait à temps ce qui lui était demandé"),
    ],
)
async def test_a_case_without_an_answer_fails_with_its_reason(raised: Exception, why: str) -> None:
    stage = bare_stage()

    async def ask(_scene: Scene) -> None:
        raise raised

    outcome = await stage.play(Case("asks", "Demande", 0.0, during=ask), 0.0)

    assert outcome.status == "failed"
    assert outcome.differences == [
        f"le cas n'est pas allé à son terme : {why}",
        "rien n'a pu être compté : PostgresError terminating connection",
    ]
    assert not outcome.drained  # The next case is played on another stack.


async def test_the_account_of_everything_fails_with_its_reason_as_well() -> None:
    outcome = await bare_stage().settle()

    assert (outcome.status, outcome.differences) == (
        "failed",
        ["rien n'a pu être compté : PostgresError terminating connection"],
    )


async def test_a_watcher_that_ends_before_its_time_fails_the_case() -> None:
    stage = bare_stage()
    cast(Any, stage.bus).answers = iter([ValueError("no number")])

    outcome = await stage.play(Case("quiet", "Rien", 0.1), 0.1)

    assert "la pile n'a pas été observée jusqu'au bout : ValueError no number" in outcome.differences
