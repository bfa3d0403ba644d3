"""The command line against an API that a test serves."""

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Terminal:
    """The command line, with an API key in its environment."""

    url: str
    key: str

    async def territoire(self, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command to its end; `said` is its standard input."""
        return await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-P", "-m", "lab", *arguments, "--url", self.url],
            env={**os.environ, "TERRITOIRE_API_KEY": self.key, "COLUMNS": "200"},
            input=said,
            start_new_session=True,  # A secret is asked for at the terminal, where there is one.
            capture_output=True,
            text=True,
            check=False,
        )
