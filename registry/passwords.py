"""Passwords of people: Argon2id at OWASP's parameters, in a thread, at most two at once."""

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from argon2 import PasswordHasher

# OWASP, Password Storage Cheat Sheet: 19 MiB, two passes, one lane.
MEMORY_KIB, PASSES, LANES = 19_456, 2, 1
AT_ONCE = 2
# Who would wait for longer than this many others is asked to come again.
WAITING_MOST = 20
SHORTEST, LONGEST = 12, 200
DISTINCT_LEAST = 5

T = TypeVar("T")


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


def _hasher() -> "PasswordHasher":
    # Imported at the first login: few processes ever see one.
    from argon2 import PasswordHasher  # noqa: PLC0415

    return PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)


class Passwords:
    """Hashes and checks; a password of nobody takes as long as another."""

    def __init__(self) -> None:
        # Not of a lower priority: they would hold the interpreter's lock while they wait for a processor.
        self._threads = ThreadPoolExecutor(AT_ONCE, "passwords")
        self._waiting = 0
        self._of_nobody = ""

    @property
    def is_full(self) -> bool:
        """Whether one more would be asked to come again."""
        return self._waiting >= WAITING_MOST

    async def hash_of(self, password: str) -> str:
        """The text that is kept of it.

        Raises:
            TooManyPasswords: too many wait.
        """
        return await self._in_turn(lambda: _hasher().hash(password))

    async def matches(self, hashed: str | None, password: str) -> bool:
        """Whether the hash is of this password; without a hash, False after the same time.

        Raises:
            TooManyPasswords: too many wait.
        """
        return await self._in_turn(lambda: self._verify(hashed, password))

    def _verify(self, hashed: str | None, password: str) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError  # noqa: PLC0415

        hasher = _hasher()
        if not hashed and not self._of_nobody:
            self._of_nobody = hasher.hash(secrets.token_urlsafe(32))
        try:
            return hasher.verify(hashed or self._of_nobody, password) and bool(hashed)
        except (VerificationError, InvalidHashError):
            return False

    async def _in_turn(self, work: Callable[[], T]) -> T:
        if self.is_full:
            raise TooManyPasswords
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1
