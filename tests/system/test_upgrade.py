"""An upgrade under load, each replica once the former is ready, and one release back.

From the last release where deploy/releases.toml names one; until then from this very commit, which is installed in
the same way: by `git archive`, with its own lock.
"""

from pathlib import Path

import pytest
from rich.console import Console

from lab.chaos.cases import find_case
from lab.chaos.stack.releases import prepared_upgrade
from lab.chaos.stage import open_stage
from tests.system.conftest import assert_holds

RATE, SECONDS = 200.0, 60.0

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]


async def test_an_upgrade_and_the_way_back_lose_nothing(chaos_folder: Path) -> None:
    case = find_case("upgrade")
    assert case is not None

    async with prepared_upgrade() as upgrade:
        quiet = Console(quiet=True)
        async with open_stage(chaos_folder, upgrade.start, rate=RATE, upgrade=upgrade, console=quiet) as stage:
            outcome = await stage.play(case, SECONDS)

    assert_holds(outcome)
    assert outcome.p99_ms
