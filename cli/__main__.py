"""`python -m cli`, which an installed ./territoire ends in."""

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cli.exit_codes import INTERRUPTED

if TYPE_CHECKING:
    import typer


def run(commands: "typer.Typer") -> None:
    """Answer one command line in French; its exit status is the process's."""
    from cli.completions import VARIABLE, prepare
    from cli.french import join_lines, speak_french

    speak_french()
    join_lines(commands)
    prepare()
    commands(prog_name="./territoire", complete_var=VARIABLE)


def answer(load: Callable[[], "typer.Typer"]) -> None:
    """As `run`, of what this loads. Ctrl-C ends it without a word, already while modules are loaded."""
    try:
        run(load())
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
    answer(lambda: _commands(sys.argv[1:]))


def _commands(words: Sequence[str]) -> "typer.Typer":
    """All of them; `up` alone where it is what is asked for."""
    if words[:1] == ["up"]:
        from cli.commands import up_alone

        return up_alone()
    from cli.app import app

    return app


if __name__ == "__main__":
    main()
