"""Finds the running stack that a command addresses, and says in French when there is none."""

import asyncio
import os
import shlex
import signal
import sys
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from services.supervisor.run_info import RunInfo

Result = TypeVar("Result")

NOTHING_RUNS = 3
# Of a table that nobody looks at in a terminal.
WIDTH = 130
COMMAND = shlex.join(["./territoire", *sys.argv[1:]])


def fail(message: str, status: int = 1) -> typer.Exit:
    """Write the message to stderr; returns the exception that ends the command."""
    sys.stderr.write(f"territoire : {message}\n")
    return typer.Exit(status)


def require_replaceable(*files: Path) -> None:
    """End the command where one of these is there and no file: a device, or a pipe, would be gone."""
    for one in files:
        if one.exists() and not one.is_file():
            raise fail(f"{one} n'est pas un fichier ordinaire : il n'est pas remplacé", 2)


def database_away(error: BaseException) -> typer.Exit:
    """The end of a command that found no database, in French."""
    from core.runtime.postgres import database_reason

    return fail(f"la base de données ne répond pas : {database_reason(error)}")


def run_until_stopped(work: Coroutine[Any, Any, Result]) -> Result:
    """Its result; SIGTERM unwinds it, as Ctrl-C does, so that what it made for a while is put away.

    Raises:
        typer.Exit: it was told to end.
    """

    async def cancelled_by_a_signal() -> Result:
        running = asyncio.ensure_future(work)
        if threading.current_thread() is threading.main_thread():  # No other one has signals.
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        return await running

    try:
        return asyncio.run(cancelled_by_a_signal())
    except asyncio.CancelledError:
        raise fail("arrêté avant la fin", 128 + signal.SIGTERM) from None


def actor() -> str:
    """As the audit calls who runs a command on the server."""
    import getpass

    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # A container's account has a number, and no name.
        name = f"compte {os.getuid()}"
    return f"{name} (serveur)"


def tables(*, beside_json: bool) -> "Console":
    """Where tables are printed: not where a program reads JSON, and as wide as they are where no terminal is."""
    from rich.console import Console

    console = Console(stderr=beside_json)
    if not console.is_terminal:
        console.width = WIDTH
    return console


def print_json(document: object, *, indent: int = 0) -> None:
    """What a program reads, on one line, or what a person may read as well."""
    import msgspec

    encoded = msgspec.json.encode(document)
    print((msgspec.json.format(encoded, indent=indent) if indent else encoded).decode())


def log_nothing() -> None:
    """Of attempts that fail: what is wrong is said once, in French, at the end."""
    import logging

    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def log_apart(run: "RunInfo", name: str) -> None:
    """Write this program's log to a file beside the services' logs: the terminal is for the operator."""
    from core.runtime.telemetry import configure_logs

    configure_logs(name, name, "json", "INFO", (run.logs / f"{name}.log").open("a", encoding="utf-8"))


def read_run(*folders: Path) -> "RunInfo":
    """What the first of these homes that has a stack says of it; ends the command when none has."""
    from services.supervisor.run_info import UnreadableRunInfo, read_run_info

    for folder in folders:
        try:
            return read_run_info(folder)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError:
            raise fail(f"seuls le compte de la pile et root lisent {folder} : sudo {COMMAND}") from None
        except UnreadableRunInfo as wrong:
            raise fail(f"{folder} : {wrong}") from None
    raise fail(f"aucune pile ne tourne dans {folders[0]}", NOTHING_RUNS)


def default_home(mode: str) -> Path:
    """The home of a stack of this mode when no option names one."""
    from services.supervisor.home import default_home as of_checkout
    from services.supervisor.stack import checkout

    home = of_checkout(checkout())
    return home / "demo" if mode == "demo" else home


def usual_homes() -> list[Path]:
    """The homes where a stack may be when no option names one: of `install`, of `up`, of `demo`."""
    from cli.installed import installed

    server = installed()
    return [*([server.home] if server else []), default_home("up"), default_home("demo")]


def find_run(home: Path | None) -> "RunInfo":
    """The stack in `home`, or else in one of the usual places; ends the command when there is none."""
    return read_run(*([home] if home else usual_homes()))
