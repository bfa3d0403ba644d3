"""The quick shares of `territoire chaos`: whatever dies, the count is exact; slow ones: test_long_chaos.py."""

import pytest

from lab.chaos.case import Case
from lab.chaos.cases import SELECTION
from lab.chaos.stage import Stage
from tests.system.conftest import assert_holds

QUICK = [case for case in SELECTION if not case.is_slow]
ONE, LASTS_S = next(case for case in QUICK if case.name == "term-ingest"), 8.0

# One stack serves every case, one at a time.
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(400),
]


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.name)
async def test_after_each_fault_no_uplink_is_lost_or_stored_twice(stage: Stage, case: Case) -> None:
    assert case.quick_s is not None

    outcome = await stage.play(case.quick, case.quick_s)

    assert_holds(outcome)


async def test_nothing_came_twice_and_rollups_are_right_when_all_is_over(stage: Stage) -> None:
    """After the cases; alone, as after a failure, it plays one of them itself."""
    if stage.load.sent_count == 0:
        await stage.play(ONE.quick, LASTS_S)

    outcome = await stage.settle()

    assert_holds(outcome)
