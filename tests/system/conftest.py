"""Whole stacks, as `territoire up` starts them."""

import json
import os
import shutil
import subprocess
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from rich.console import Console

from lab.chaos.outcome import Outcome
from lab.chaos.stage import Stage, open_stage
from lab.stack_process import background_stack
from tests.network.conftest import MachineClock

# Uplinks a second: enough that every fault meets some on their way. `territoire chaos` plays twenty times as many.
CHAOS_RATE = 100.0


@contextmanager
def new_home(name: str) -> Generator[Path]:
    """A folder that PostgreSQL's account may enter, too; the stack itself makes it.

    What the stack wrote outlives it where `territoire test` says that it is.
    """
    home = Path("/var/tmp") / f"territoire-{name}-{os.getpid()}"
    try:
        yield home
    finally:
        results = os.environ.get("TERRITOIRE_TEST_RESULTS")
        if results is not None and (home / "logs").is_dir():
            kept = Path(results) / "system" / name
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(home / "logs", kept)
        subprocess.run(["rm", "-rf", str(home)], check=True)


def assert_holds(outcome: Outcome) -> None:
    """Fail with all that a case has shown, where it did not hold: a run of hours ago cannot be asked again."""
    if not outcome.holds:
        pytest.fail(json.dumps(outcome.as_dict(), ensure_ascii=False, indent=1, default=str), pytrace=False)


@pytest.fixture
def clock() -> MachineClock:
    """Gateways keep time themselves, and so does the bridge."""
    return MachineClock()


@pytest.fixture(scope="module")
def demo_folder() -> Iterator[Path]:
    """The home of the stack that the demonstration starts."""
    with new_home("demo") as home:
        yield home


@pytest.fixture(scope="module")
def chaos_folder() -> Iterator[Path]:
    with new_home("chaos") as home:
        yield home


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(chaos_folder: Path) -> AsyncGenerator[Stage]:
    """One stack under load, with two replicas of what is sharded, for every case of a module."""
    async with open_stage(chaos_folder, background_stack, rate=CHAOS_RATE, console=Console(quiet=True)) as opened:
        yield opened
