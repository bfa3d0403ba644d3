"""`python -m cli`, which an installed ./territoire ends in."""

import typer

from cli.app import app
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
    run(app)


if __name__ == "__main__":
    main()
