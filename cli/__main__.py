"""`python -m cli`, which an installed ./territoire ends in."""

import sys
from collections.abc import Sequence

import typer

from cli.completions import VARIABLE, prepare
from cli.french import join_lines, speak_french


def run(commands: typer.Typer) -> None:
    """Answer one command line in French; its exit status is the process's."""
    speak_french()
    join_lines(commands)
    prepare()
    commands(prog_name="./territoire", complete_var=VARIABLE)


def main() -> None:
    """The operator's commands, which pyproject.toml names as the program of a wheel."""
    run(_commands(sys.argv[1:]))


def _commands(words: Sequence[str]) -> typer.Typer:
    """All of them; `up` alone where it is what is asked for."""
    if words[:1] == ["up"]:
        from cli.commands import up_alone

        return up_alone()
    from cli.app import app

    return app


if __name__ == "__main__":
    main()
