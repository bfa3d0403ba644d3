"""The line for cron that says which containers of compose are not well, with a `docker` that is made up."""

import os
import re
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
# As Docker 28 writes them.
CONTAINERS = """\
territoire-api-1 Up 3 days (healthy)
territoire-network-1 Up 3 days (healthy)
territoire-operator-run-a1b2c3 Up 4 seconds
territoire-{migrate}
territoire-ingest-1 {ingest}
"""
WELL = "Up 3 days (healthy)"


@pytest.mark.starts_processes
@pytest.mark.parametrize(
    ("migrate", "ingest", "mailed"),
    [
        ("migrate-1 Exited (0) 3 days ago", WELL, ""),
        ("migrate-1 Up 20 seconds", WELL, ""),
        ("migrate-1 Exited (1) 2 minutes ago", WELL, "territoire-migrate-1 Exited (1) 2 minutes ago\n"),
        ("migrate-1 Exited (137) 2 minutes ago", WELL, "territoire-migrate-1 Exited (137) 2 minutes ago\n"),
        ("migrate-1 Exited (0) 3 days ago", "Created", "territoire-ingest-1 Created\n"),
        (
            "migrate-1 Exited (0) 3 days ago",
            "Up 9 minutes (unhealthy)",
            "territoire-ingest-1 Up 9 minutes (unhealthy)\n",
        ),
    ],
)
def test_who_is_on_call_is_mailed_every_container_that_is_not_well_and_no_other(
    tmp_path: Path, migrate: str, ingest: str, mailed: str
) -> None:
    text = (CHECKOUT / "docs/serveur.md").read_text("utf-8")
    [line] = re.findall(r"^\*/15 \* \* \* \*  root  (docker ps .*)$", text, re.MULTILINE)
    (tmp_path / "containers").write_text(CONTAINERS.format(migrate=migrate, ingest=ingest), "utf-8")
    (tmp_path / "docker").write_text(f"#!/bin/sh\ncat {tmp_path}/containers\n", "utf-8")
    (tmp_path / "docker").chmod(0o755)

    done = subprocess.run(
        ["/bin/sh", "-c", line],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.stderr) == (mailed, "")
