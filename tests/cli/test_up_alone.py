"""What `up` keeps in memory for months is what it needs."""

import subprocess
import sys

# As in `cli.__main__`; what is imported while a stack starts and runs.
IMPORTS = """
import sys
from cli.__main__ import _commands
_commands(["up"])
import cli.completions, cli.french, cli.report, cli.session, rich.console, services.supervisor.stack
print(*sys.modules)
"""
NOT_NEEDED = {"asyncpg", "httpx", "prometheus_client", "structlog", "cli.app", "cli.backup"}


def test_the_supervisor_imports_no_library_of_the_services() -> None:
    printed = subprocess.run([sys.executable, "-P", "-c", IMPORTS], check=True, capture_output=True, text=True)

    assert NOT_NEEDED & set(printed.stdout.split()) == set()
