"""Runs command lines as `python -m lab` does, each in a process of its own, forked from one that has its modules.

A line of standard input is one command: arguments, environment, and files for its three streams, as JSON. Its exit
status is a line of standard output. An interpreter that starts and imports takes half a second, this twenty times
less; what it is not is tried by an interpreter in `test_app.py`.
"""

import json
import os
import sys
import traceback
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import cli
from cli.__main__ import run
from lab.app import app

# What commands import when they run, beside our own.
LIBRARIES = ("httpx", "rich.progress", "rich.table")


def _run(command: dict[str, Any]) -> None:
    os.setsid()  # A secret is asked for at the terminal, where there is one.
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        stream = open(command[name], mode, encoding="utf-8")  # noqa: PTH123, SIM115 - Ends with the process.
        os.dup2(stream.fileno(), number)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    os.environ.clear()
    os.environ.update(command["environment"])
    sys.argv = ["territoire", *command["arguments"]]
    run(app)


def main() -> None:
    """Until standard input ends."""
    for name in (*(f"cli.{module.name}" for module in iter_modules(cli.__path__)), *LIBRARIES):
        import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if child:
            _, status = os.waitpid(child, 0)
            sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
            sys.stdout.flush()
            continue
        code: Any = 0
        try:
            _run(json.loads(line))
        except SystemExit as ended:
            code = ended.code
        except BaseException:  # noqa: BLE001 - As an interpreter ends by it.
            traceback.print_exc()
            code = 1
        if isinstance(code, str):
            sys.stderr.write(f"{code}\n")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    main()
