"""A whole stack in a process of its own, as `territoire up` starts it: for chaos, benchmarks and tests."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from cli.report import readiness
from lab.programs import Program
from services.supervisor.launch import Launch
from services.supervisor.run_info import RunInfo, UnreadableRunInfo, read_run_info
from services.supervisor.stack_options import SERVICES
from services.supervisor.supervisor import StartFailed, tail

READY_WITHIN_S = 180.0
STOP_WITHIN_S = 90.0
POLL_S = 0.2


@asynccontextmanager
async def background_stack(
    home: Path, replicas: Mapping[str, int], program: Program | None = None
) -> AsyncGenerator[RunInfo]:
    """A stack on free ports of the loopback while the block runs; it dies with this process.

    `program`: what is checked out, unless it is another. PostgreSQL keeps the instant of every commit.

    Raises:
        StartFailed: it does not start; the message is the end of what it printed.
    """
    program = program or Program.this()
    counts = ",".join(f"{name}={count}" for name, count in replicas.items())
    argv = [program.python, "-P", "-m", "cli", "up", "--home", str(home)]
    argv += ["--udp-host", "127.0.0.1", "--udp-port", "0", "--station-port", "0", "--api-port", "0"]
    argv += ["--intake-port", "0", "--replicas", counts, "--commit-timestamps"]
    log = home.with_name(f"{home.name}.log")
    environment = {**os.environ, **program.environment}
    launch = Launch(tuple(argv), env=environment, stop_signal=signal.SIGINT)
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(*argv, **launch.arguments(output))
        try:
            yield await _until_ready(home, process, log, program)
        finally:
            await _stop(process)
            log.unlink(missing_ok=True)


async def _until_ready(home: Path, process: asyncio.subprocess.Process, log: Path, program: Program) -> RunInfo:
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            while process.returncode is None:
                run = await _ready_run(home, program)
                if run is not None:
                    return run
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        pass
    raise StartFailed(f"la pile ne démarre pas :\n{tail(log)}")


async def _ready_run(home: Path, program: Program) -> RunInfo | None:
    """What run.json says once every service is in it and answers."""
    try:
        run = read_run_info(home)
    except (FileNotFoundError, UnreadableRunInfo):
        return None
    if not all(run.replicas(name) for name in SERVICES if program.has_service(name)):
        return None
    return run if all((await readiness(run)).values()) else None


async def _stop(process: asyncio.subprocess.Process) -> None:
    """In order; at once when that takes too long."""
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGKILL):
        if process.returncode is None:
            process.send_signal(number)
            try:
                async with asyncio.timeout(STOP_WITHIN_S):
                    await process.wait()
            except TimeoutError:
                continue
        return
