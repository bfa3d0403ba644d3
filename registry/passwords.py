"""Passwords of people: Argon2id in processes of a low priority, at most two at once.

Processes, because they have a priority of their own: whoever sends many wrong passwords takes the processors that
nothing else needs. A thread of a lower priority would keep the interpreter's lock while it waits for a processor.
"""

import asyncio
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

AT_ONCE = 2
# Who would wait for longer than this many others is asked to come again.
WAITING_MOST = 20
SHORTEST, LONGEST = 12, 200
DISTINCT_LEAST = 5
ROOT = str(Path(__file__).resolve().parents[1])


class TooManyPasswords(Exception):
    """More passwords wait to be checked than can be soon."""


def weakness(password: str, email: str) -> str | None:
    """What is wrong with a new password, in French; None: nothing that can be seen."""
    if len(password) < SHORTEST:
        return f"{SHORTEST} caractères au moins"
    if len(set(password)) < DISTINCT_LEAST:
        return "trop peu de caractères différents"
    if email.partition("@")[0] in password.lower():
        return "il contient l'adresse de courrier"
    return None


class Passwords:
    """Hashes and checks; a password of nobody takes as long as another."""

    def __init__(self) -> None:
        self._waiting = 0

    @property
    def is_full(self) -> bool:
        """Whether one more would be asked to come again."""
        return self._waiting >= WAITING_MOST

    async def hash_of(self, password: str) -> str:
        """The text that is kept of it.

        Raises:
            TooManyPasswords: too many wait.
        """
        return await self._in_turn(password, None)

    async def matches(self, hashed: str | None, password: str) -> bool:
        """Whether the hash is of this password; without a hash, False after the same time.

        Raises:
            TooManyPasswords: too many wait.
        """
        if hashed is None:
            await self._in_turn(password, None)
            return False
        return await self._in_turn(password, hashed) == "True"

    async def _in_turn(self, password: str, hashed: str | None) -> str:
        if self.is_full:
            raise TooManyPasswords
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(_threads(), _ask, password, hashed)
        finally:
            self._waiting -= 1


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AT_ONCE, "passwords")


class _Worker(threading.local):
    """The process of one thread, from the first password on; it ends with us, since its input does."""

    process: subprocess.Popen[str] | None = None


_worker = _Worker()


def _ask(password: str, hashed: str | None) -> str:
    process = _worker.process
    if process is None or process.poll() is not None:
        process = _worker.process = subprocess.Popen(
            (sys.executable, "-P", "-m", "registry.password_hashing"),
            env={"PYTHONPATH": ROOT, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    assert process.stdin is not None  # noqa: S101 - It is a pipe, as is the output.
    assert process.stdout is not None  # noqa: S101
    process.stdin.write(f"{json.dumps([password, hashed])}\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        message = "the process that hashes passwords has ended"
        raise RuntimeError(message)
    return answer.removesuffix("\n")
