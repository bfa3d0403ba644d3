"""The command line against an API that a test serves."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

_one_at_a_time = threading.Lock()


@cache
def _forking() -> subprocess.Popen[str]:
    """The process that runs the commands; it ends with the standard input that this one holds."""
    argv = [sys.executable, "-P", "-m", "tests.cli.forked_commands"]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)


def _run(arguments: tuple[str, ...], environment: dict[str, str], said: str) -> subprocess.CompletedProcess[str]:
    with TemporaryDirectory() as folder:
        streams = {name: Path(folder) / name for name in ("stdin", "stdout", "stderr")}
        streams["stdin"].write_text(said, "utf-8")
        command: dict[str, Any] = {"arguments": arguments, "environment": environment}
        command |= {name: str(file) for name, file in streams.items()}
        with _one_at_a_time:
            forking = _forking()
            assert forking.stdin is not None
            assert forking.stdout is not None
            print(json.dumps(command), file=forking.stdin, flush=True)
            status = int(forking.stdout.readline())
        out, err = (streams[name].read_text("utf-8") for name in ("stdout", "stderr"))
    return subprocess.CompletedProcess(arguments, status, out, err)


@dataclass(frozen=True)
class Terminal:
    """The command line, with an API key in its environment."""

    url: str
    key: str

    async def territoire(self, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command to its end; `said` is its standard input."""
        environment = {**os.environ, "TERRITOIRE_API_KEY": self.key, "COLUMNS": "200"}
        return await asyncio.to_thread(_run, (*arguments, "--url", self.url), environment, said)
