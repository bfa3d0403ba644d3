"""What a forked program writes and ends with is its own, and nothing of the process that it was forked from."""

import os
from pathlib import Path

import pytest

from tests.forked_programs import start_program

pytestmark = pytest.mark.starts_processes


async def test_forked_program_writes_into_its_log_and_ends_with_its_status(tmp_path: Path) -> None:
    log = tmp_path / "log"

    process = await start_program("this", {}, log)

    assert await process.wait() == 0
    assert process.pid != os.getpid()
    assert log.read_text("utf-8").startswith("The Zen of Python")


async def test_forked_program_that_fails_ends_with_1_and_says_why_and_the_next_one_starts(tmp_path: Path) -> None:
    log = tmp_path / "log"

    failed = await start_program("tests.that_is_not_there", {}, log)
    assert await failed.wait() == 1
    following = await start_program("this", {})

    assert "No module named tests.that_is_not_there" in log.read_text("utf-8")
    assert await following.wait() == 0
