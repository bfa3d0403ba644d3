"""Completion by the shell: what `./territoire completion SHELL` prints, and the answer when Tab is pressed."""

import os

# typer has no public way to a script under another name than the program's own.
from typer.completion import (
    completion_init,  # pyright: ignore[reportPrivateImportUsage]
    get_completion_script,  # pyright: ignore[reportPrivateImportUsage]
)

VARIABLE = "_TERRITOIRE_COMPLETE"  # The bootstrap knows it, too.
PROGRAM = "territoire"
# Each shell has its own word for what stands at the beginning of the line: ./territoire need not be on PATH.
NAMED_TO_TYPED = {
    f"{VARIABLE}=complete_zsh {PROGRAM}": f"{VARIABLE}=complete_zsh ${{words[1]}}",
    f"=(commandline -cp) {PROGRAM}": "=(commandline -cp) (commandline -po)[1]",
}


def script(shell: str) -> str:
    """To be sourced by the shell of this name."""
    text = get_completion_script(prog_name=PROGRAM, complete_var=VARIABLE, shell=shell)
    for named, typed in NAMED_TO_TYPED.items():
        text = text.replace(named, typed)
    return f"{text}\n"


def prepare() -> None:
    """Make the shells known to typer where one is asking."""
    if VARIABLE in os.environ:
        completion_init()
