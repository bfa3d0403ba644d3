"""Runs the one-machine stack in the foreground, from the first process to the last."""

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
import typer

from cli.exit_codes import INTERRUPTED
from cli.running import fail
from core.runtime.errors import OperatorError
from services.supervisor.home import Home, UnusableHome
from services.supervisor.kept_sockets import KeptSockets
from services.supervisor.launch import Launch, ServerMissing
from services.supervisor.notify import notify
from services.supervisor.ports import PortTaken
from services.supervisor.postgres import ClusterFailed
from services.supervisor.run_info import RunInfo
from services.supervisor.stack import Stack
from services.supervisor.stack_options import StackOptions
from services.supervisor.supervisor import StartFailed
from services.supervisor.watchdog import keep_feeding

# What the operator can mend; the message is written for them.
REFUSALS = (UnusableHome, ServerMissing, PortTaken, ClusterFailed, StartFailed)
FLEET_STOP_S = 20.0
# Asked of systemd each time that a start is said to take long, every ten seconds.
EXTENDED_BY_US = 60_000_000
WRONG_SETTING = 2

Body = Callable[[RunInfo, asyncio.Event], Awaitable[int]]


class Interruption:
    """Ctrl-C or SIGTERM: once to stop in order, twice to stop at once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.insisted: Callable[[], None] = lambda: None
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._receive)

    def _receive(self) -> None:
        if self.asked.is_set():
            self.insisted()
            return
        self.asked.set()
        sys.stderr.write("\nArrêt en cours (Ctrl-C encore pour couper net)\n")


async def run_stack(folder: Path, options: StackOptions, body: Body) -> int:
    """Hold the home, start the stack, run `body` with it, stop it. The status is the body's.

    Raises:
        UnusableHome, ServerMissing, PortTaken, ClusterFailed, StartFailed: with everything stopped again.
    """
    interruption = Interruption()
    home = Home(folder)
    with home.held():
        if options.mode == "demo":
            home.empty_for_demo()
        stack = Stack(home, options, kept=KeptSockets.taken())
        interruption.insisted = stack.supervisor.kill
        stack.supervisor.waiting = notify_slow_start
        try:
            started = await _unless(interruption.asked, stack.start())
            if started is None:
                return INTERRUPTED
            notify("READY=1")
            feeding = asyncio.create_task(keep_feeding(stack.all_live), name="feed the watchdog")
            try:
                return await body(started, interruption.asked)
            finally:
                feeding.cancel()
        finally:
            notify("STOPPING=1")
            await stack.stop()


def notify_slow_start(name: str, seconds: float) -> None:
    """A server that recovers and a migration take the time they need; systemd would end us after its own."""
    sys.stderr.write(f"{name} : pas encore prêt après {seconds:.0f} s\n")
    notify(f"EXTEND_TIMEOUT_USEC={EXTENDED_BY_US}")


async def _unless(stopping: asyncio.Event, starting: Awaitable[RunInfo]) -> RunInfo | None:
    task = asyncio.ensure_future(starting)
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return None


async def wait_for_the_end(stopping: asyncio.Event, exit_after: float | None) -> int:
    """Until the operator stops the stack, or until its time is over."""
    try:
        async with asyncio.timeout(exit_after):
            await stopping.wait()
    except TimeoutError:
        sys.stderr.write("Temps écoulé, arrêt\n")
    return 0


async def run_in_foreground(argv: tuple[str, ...], environment: dict[str, str], stopping: asyncio.Event) -> int:
    """A program that shares our terminal; SIGINT when the operator stops, SIGKILL when it does not end.

    It is a process of its own: its loop may be uvloop, and its memory is not the supervisor's.
    """
    launch = Launch(argv, env=environment, cwd=Path.cwd(), stop_signal=signal.SIGINT)
    process = await asyncio.create_subprocess_exec(*argv, **launch.arguments(None))
    ended = asyncio.create_task(process.wait())
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.wait((ended, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not ended.done():
        process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(FLEET_STOP_S):
                await asyncio.shield(ended)
        except TimeoutError:
            process.kill()
    return await ended


def _examined_settings(services: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is misspelt in the environment and what is wrong, one line each, in French.

    A process of its own looks: the supervisor would keep its libraries, 24 MB, for as long as the stack runs.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            from cli.settings_check import wrong_settings
            from core.runtime.settings import unknown_settings

            found = (
                [unknown.french for unknown in unknown_settings()],
                [line for _, line in wrong_settings(services)],
            )
            with open(writing, "wb") as answer:  # noqa: PTH123 - A descriptor.
                answer.write(msgspec.json.encode(found))
            status = 0
        except Exception:  # noqa: BLE001 - It is shown, and ends this process.
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, "rb") as answer:  # noqa: PTH123
        octets = answer.read()
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise fail("les réglages n'ont pas pu être vérifiés", 1)
    return msgspec.json.decode(octets, type=tuple[list[str], list[str]])


def run_stack_command(home: Path, options: StackOptions, body: Body) -> None:
    """Check the settings, run a stack with `body`, and end the command with its status."""
    unknown, wrong = _examined_settings(options.services)
    for line in unknown:
        sys.stderr.write(f"territoire : attention, {line}\n")
    if wrong:
        raise fail("rien n'est démarré.\n  " + "\n  ".join(wrong), WRONG_SETTING)
    try:
        status = asyncio.run(run_stack(home, options, body))
    except REFUSALS as refused:
        raise fail(str(refused)) from None
    except OperatorError as wrong:
        raise fail(wrong.french) from None
    raise typer.Exit(status)
