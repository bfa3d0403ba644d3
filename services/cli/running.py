"""The stack that a command speaks to, and what is said when there is none."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from services.run_info import RunInfo

NOTHING_RUNS = 3


def fail(message: str, status: int = 1) -> typer.Exit:
    """What ends the command, once the operator has been told why."""
    sys.stderr.write(f"territoire : {message}\n")
    return typer.Exit(status)


def read_run(*folders: Path) -> "RunInfo":
    """What the first of these homes that has a stack says of it; ends the command when none has."""
    from msgspec import DecodeError

    from services.run_info import read_run_info

    for folder in folders:
        try:
            return read_run_info(folder)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (DecodeError, PermissionError) as wrong:
            raise fail(f"{folder} : {wrong}") from None
    raise fail(f"aucune pile ne tourne dans {folders[0]}", NOTHING_RUNS)
