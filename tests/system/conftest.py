"""Whole stacks, as `territoire up` starts them."""

import os
import shutil
import subprocess
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from rich.console import Console

from lab.chaos.stage import Stage, open_stage
from lab.stack_process import background_stack
from tests.network.conftest import MachineClock

# Uplinks a second: enough that every fault meets some on their way. `territoire chaos` plays twenty times as many.
CHAOS_RATE = 100.0


def _new_home(name: str) -> Path:
    """A folder that PostgreSQL's account may enter, too; the stack itself makes it."""
    return Path("/var/tmp") / f"territoire-{name}-{os.getpid()}"


def keep_logs(home: Path) -> None:
    """What the stack wrote outlives it where `territoire test` says that it is."""
    results = os.environ.get("TERRITOIRE_TEST_RESULTS")
    if results is not None and (home / "logs").is_dir():
        kept = Path(results) / "system" / home.name.removesuffix(f"-{os.getpid()}")
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(home / "logs", kept)


@pytest.fixture
def clock() -> MachineClock:
    """Gateways keep time themselves, and so does the bridge."""
    return MachineClock()


@pytest.fixture(scope="module")
def demo_folder() -> Iterator[Path]:
    """The home of the stack that the demonstration starts."""
    home = _new_home("demo")
    yield home
    keep_logs(home)
    subprocess.run(["rm", "-rf", str(home)], check=True)


@pytest.fixture(scope="module")
def chaos_folder() -> Iterator[Path]:
    home = _new_home("chaos")
    yield home
    keep_logs(home)
    subprocess.run(["rm", "-rf", str(home)], check=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(chaos_folder: Path) -> AsyncGenerator[Stage]:
    """One stack under load, with two replicas of what is sharded, for every case of a module."""
    async with open_stage(chaos_folder, background_stack, rate=CHAOS_RATE, console=Console(quiet=True)) as opened:
        yield opened
