"""The shares of `territoire chaos` that take minutes: played with the demonstration, by `test --browser`."""

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from rich.console import Console

from lab.chaos.case import Case, Layout
from lab.chaos.cases import SELECTION
from lab.chaos.stage import Stage, open_stage
from lab.stack_process import background_stack
from tests.system.conftest import CHAOS_RATE, assert_holds, new_home

# An upgrade is played from another program: test_upgrade.py.
SLOW = [case for case in SELECTION if case.is_slow and case.layout is not Layout.FORMER]
# Cases of one layout follow each other on one stack.
BY_LAYOUT = sorted(SLOW, key=lambda case: list(Layout).index(case.layout))

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(600),
    pytest.mark.starts_processes,
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(request: pytest.FixtureRequest) -> AsyncGenerator[Stage]:
    """A stack of the layout that a case asks for, in a home of its own: what one case set up outlives a stack."""
    layout: Layout = request.param
    with new_home(f"chaos-{layout}") as home:
        async with open_stage(
            home, background_stack, rate=CHAOS_RATE, console=Console(quiet=True), layout=layout
        ) as opened:
            yield opened


@pytest.mark.parametrize(
    ("stage", "case"),
    [(case.layout, case) for case in BY_LAYOUT],
    ids=[case.name for case in BY_LAYOUT],
    indirect=["stage"],
)
async def test_after_each_long_fault_nothing_is_lost_doubled_or_a_neighbours(stage: Stage, case: Case) -> None:
    assert case.quick_s is not None

    outcome = await stage.play(case.quick, case.quick_s)

    assert_holds(outcome)
