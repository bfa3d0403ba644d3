"""The command line in this process: what it answers, without an interpreter that starts for it."""

from dataclasses import dataclass

from typer.testing import CliRunner

from cli.french import speak_french
from lab.app import app


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


def territoire(*arguments: str, **environment: str) -> Ran:
    """One command to its end; a mistake of ours is raised."""
    speak_french()
    result = CliRunner().invoke(app, list(arguments), env=environment, prog_name="./territoire")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)
