"""`python -m cli`, which an installed ./territoire ends in."""

import sys
import warnings
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

INTERRUPTED = 130


def run(commands: "typer.Typer") -> None:
    """Answer one command line in French; its exit status is the process's."""
    from cli.completions import VARIABLE, prepare
    from cli.french import join_lines, speak_french

    speak_french()
    join_lines(commands)
    prepare()
    commands(prog_name="./territoire", complete_var=VARIABLE)


def answer(module: str) -> None:
    """As `run`, of this module's `app`. Ctrl-C ends it without a word, already while modules are loaded."""
    try:
        run(import_module(module).app)
    except KeyboardInterrupt:
        _forget_what_was_begun()
        sys.exit(INTERRUPTED)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            _forget_what_was_begun()
        raise


def _forget_what_was_begun() -> None:
    """A coroutine that Ctrl-C kept from starting would be complained of in English."""
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)


def main() -> None:
    """The operator's commands, which pyproject.toml names as the program of a wheel."""
    answer("cli.app")


if __name__ == "__main__":
    main()
