import asyncio
import os
import sys

import pytest

from core.runtime import lifetime

STUBBORN = """
import asyncio
import os
import sys
from core.runtime import lifetime
from core.runtime.settings import ServiceSettings

lifetime.DRAIN_DEADLINE_S, lifetime.UNWIND_S = 0.2, 0.2

async def main(settings, stopping):
    print("ready", flush=True)
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if {gives_in}:
                raise

lifetime.run_service("stubborn", ServiceSettings, main)
"""


@pytest.mark.parametrize(("gives_in", "event"), [(True, "stop_deadline_passed"), (False, "stop_forced")])
async def test_a_service_that_does_not_end_in_time_says_so_and_ends_with_1(gives_in: bool, event: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        STUBBORN.replace("{gives_in}", str(gives_in)),
        env={"TERRITOIRE_DATABASE_URL": "postgresql://x", "TERRITOIRE_NATS_URL": "nats://x"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    while b"ready" not in await process.stdout.readline():
        pass

    process.terminate()
    said = (await process.stdout.read()).decode()

    assert await process.wait() == 1
    assert event in said
    assert "Traceback" not in said


POLITE = """
import os
from core.runtime import lifetime
from core.runtime.settings import ServiceSettings

async def main(settings, stopping):
    print(f"niceness {os.nice(0)}", flush=True)
    if lifetime.AUTOGROUP.exists():
        print(lifetime.AUTOGROUP.read_text(), flush=True)

lifetime.run_service("polite", ServiceSettings, main, niceness=5)
"""


async def test_a_service_that_may_wait_yields_to_others() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        POLITE,
        env={"TERRITOIRE_DATABASE_URL": "postgresql://x", "TERRITOIRE_NATS_URL": "nats://x"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    said, _ = await process.communicate()

    if lifetime.AUTOGROUP.exists():  # A kernel that shares processors between sessions.
        assert " nice 5\n" in said.decode()
    assert f"niceness {min(19, os.getpriority(os.PRIO_PROCESS, 0) + 5)}" in said.decode()
