"""The frame of every process: settings, logs, signals and deadline around one function `main`."""

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import structlog
import uvloop

from core.runtime.errors import OperatorError
from core.runtime.settings import ServiceSettings, settings_or_exit, unknown_settings
from core.runtime.telemetry import configure_logs, show_build, watch_event_loop
from core.runtime.tracing import TRACES, Spans
from core.runtime.waiting import start_is_held

COLLECTOR = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
DRAIN_DEADLINE_S = 20
UNWIND_S = 5
AUTOGROUP = Path("/proc/self/autogroup")

# Frames, rows and answers come by the ten thousand and none of them is part of a cycle: with Python's own
# thresholds a third of a service's time goes by looking for cycles among them (docs/performance.md).
GC_THRESHOLDS = (100_000, 20, 100)

SettingsT = TypeVar("SettingsT", bound=ServiceSettings)

log = structlog.get_logger()


async def _run(main: Callable[[asyncio.Event], Awaitable[None]], deadline_s: float) -> bool:
    """Returns whether `main` ended by itself, and not because its time was up."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stopping.set)
    watching = asyncio.create_task(watch_event_loop(), name="watch event loop")
    running = asyncio.ensure_future(main(stopping))
    waiting = asyncio.create_task(stopping.wait(), name="wait for a signal")
    await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
    watching.cancel()
    waiting.cancel()
    if not running.done():
        log.info("stopping")
        if start_is_held():
            running.cancel()
            await asyncio.wait((running,), timeout=UNWIND_S)
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                await asyncio.shield(running)
    if running.done():
        await running
        return True
    log.error("stop_deadline_passed", seconds=deadline_s)
    running.cancel()
    await asyncio.wait((running,), timeout=UNWIND_S)
    if not running.done():
        log.error("stop_forced", seconds=deadline_s + UNWIND_S)
        os._exit(1)  # The loop would wait for it for ever.
    if not running.cancelled() and (failure := running.exception()) is not None:
        log.error("stop_failed", error=repr(failure))
    return False


def collector_spans(service: str, instance: str) -> Spans | None:
    """The exporter of spans; None: no collector is set."""
    if not any(os.environ.get(name) for name in COLLECTOR):
        return None
    from core.runtime.spans import CollectedSpans  # noqa: PLC0415 - 10 MB that most installations never need.

    return CollectedSpans(service, instance)


def _yield_to_others(niceness: int) -> None:
    """Also where the kernel shares processors between sessions (sched(7), autogroup): each service has its own."""
    os.nice(niceness)
    if niceness and os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):  # A kernel without it, or a /proc that may only be read.
            AUTOGROUP.write_text(str(niceness), "ascii")


def run_service(
    name: str,
    settings_class: type[SettingsT],
    main: Callable[[SettingsT, asyncio.Event], Awaitable[None]],
    *,
    traces_frames: bool = False,
    niceness: int = 0,
) -> None:
    """Read the settings, set up logs, and run `main(settings, stopping)` until it ends or a signal comes.

    What has a niceness yields the processor to what has less: on one machine frames come before questions, and
    both before what may be done later (decision 125).

    Exits with 2 when a setting is missing or wrong, naming each, and with 1 when the service failed or did not
    end within the deadline after a signal.
    """
    _yield_to_others(niceness)
    settings = settings_or_exit(name, settings_class)
    configure_logs(name, settings.instance, settings.log_format, settings.log_level)
    show_build(name)
    if traces_frames:
        TRACES.open(settings.trace_ratio, collector_spans(name, settings.instance))
    for unknown in unknown_settings():
        log.warning("setting_unknown", setting=unknown.name, nearest=unknown.nearest, message=unknown.french)

    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)

    async def start(stopping: asyncio.Event) -> None:
        await main(settings, stopping)

    try:
        was_in_time = uvloop.run(_run(start, settings.lingers_s + DRAIN_DEADLINE_S))
    except OperatorError as wrong:
        log.error("service_refused", error=str(wrong), message=wrong.french)
        raise SystemExit(1) from None
    except (Exception, BaseExceptionGroup):
        log.exception("service_failed")
        raise SystemExit(1) from None
    finally:
        TRACES.close()
    if not was_in_time:
        raise SystemExit(1)
    log.info("stopped")
