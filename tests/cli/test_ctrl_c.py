"""Ctrl-C at any moment of a command: no word of English, no stack trace, the status that shells expect."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.on_call import CHECKOUT

# `python -m PROGRAM ARGUMENTS`, and Ctrl-C as it begins to load MODULE.
PROGRAM = """
import os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell that starts us behind itself ignores it.

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)

_, program, module, *arguments = sys.argv
sys.meta_path.insert(0, Watch())
sys.argv = [program, *arguments]
runpy.run_module(program, run_name="__main__", alter_sys=True)
"""


def interrupted(text: str, *arguments: str) -> tuple[int, str]:
    """The status of this program, and what it says of its end."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", text, *arguments],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.starts_processes
@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("typer", ["backup", "/nowhere"]),
        ("cli.secrets", ["secrets", "list"]),
        ("registry.erasures", ["backup", "/nowhere"]),
        ("cli.examination", ["doctor"]),
        ("asyncpg", ["doctor"]),
    ],
)
def test_ctrl_c_while_a_command_still_loads_says_nothing(module: str, command: list[str], tmp_path: Path) -> None:
    assert interrupted(PROGRAM, "cli", module, *command, "--home", str(tmp_path)) == (130, "")


@pytest.mark.starts_processes
def test_ctrl_c_while_a_checkout_s_commands_load_says_nothing() -> None:
    assert interrupted(PROGRAM, "lab", "lab.app", "status") == (130, "")


# Ctrl-C between the making of a command's coroutine and its first step, when the loop is not there yet.
UNBORN = """
import asyncio, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from cli.__main__ import main
new_event_loop = asyncio.events.new_event_loop

def interrupted_loop():
    os.kill(os.getpid(), signal.SIGINT)
    return new_event_loop()

asyncio.events.new_event_loop = interrupted_loop
main()
"""


@pytest.mark.starts_processes
def test_ctrl_c_before_the_loop_has_begun_says_nothing(tmp_path: Path) -> None:
    assert interrupted(UNBORN, "doctor", "--home", str(tmp_path)) == (130, "")
