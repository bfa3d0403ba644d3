"""What the command that starts a stack has in memory for as long as the stack runs."""

import subprocess
import sys

import pytest

HEAVY = ("fastapi", "httpx", "pgqueuer")
LOADED = f"import sys, cli.settings_check; print([one for one in {HEAVY} if one in sys.modules])"


@pytest.mark.starts_processes
def test_a_check_of_all_services_settings_loads_none_of_their_libraries() -> None:
    said = subprocess.run([sys.executable, "-P", "-c", LOADED], capture_output=True, text=True, check=True)

    assert said.stdout == "[]\n"
