"""Checks a password and a second factor: refused before hashing when too many were wrong, and counted."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from api.dependencies import Dependencies
from api.totp import matching_step
from core.runtime.http.errors import FieldError, Problem
from registry import sessions
from registry.passwords import TooManyPasswords
from registry.people import totp_owner
from registry.sessions import Login

CODE_DIGITS = 6
TOTP_REQUIRED = "totp_required"


def _too_many() -> Problem:
    return Problem(429, "trop de connexions à la fois, réessayez", headers={"Retry-After": "2"})


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody who says who they are."""

    platform: Dependencies
    account: str
    """The e-mail address, in lower case."""
    address: str

    async def require_unlocked(self) -> None:
        """Raises 429 while too many were wrong."""
        until = await sessions.locked_until(self.platform.pool, self.account, self.address)
        if until is not None:
            await self.platform.rejections.record(self.address, "locked", {"account": self.account})
            wait_s = max(1, math.ceil((until - datetime.now(UTC)).total_seconds()))
            raise Problem(
                429,
                f"trop d'essais : réessayez dans {math.ceil(wait_s / 60)} min",
                headers={"Retry-After": str(wait_s)},
            )

    async def fail(self, status: int, message: str) -> Problem:
        """Count and record it; the problem to be raised."""
        await self.platform.rejections.record(self.address, "login", {"account": self.account, "why": message})
        await sessions.record_failure(self.platform.pool, self.account, self.address)
        return Problem(status, message)

    async def succeed(self) -> None:
        """What was mistyped before does not count."""
        await sessions.clear_failures(self.platform.pool, self.account, self.address)

    async def check_password(self, login: Login | None, password: str) -> bool:
        """Whether it is the account's; as long for an account that does not exist."""
        try:
            return await self.platform.passwords.matches(None if login is None else login.password_hash, password)
        except TooManyPasswords:
            raise _too_many() from None

    async def check_code(self, login: Login, code: str) -> bool:
        """Whether it is the telephone's code of now, or a recovery code, that was not used before."""
        if len(code.replace(" ", "")) != CODE_DIGITS:
            return await sessions.use_recovery_code(self.platform.pool, login.person_id, code)
        if login.totp_wrapped is None:
            return False
        secret = self.platform.keys.unwrap_text(login.totp_wrapped, totp_owner(login.person_id))
        step = matching_step(secret, code, datetime.now(UTC).timestamp())
        return step is not None and await sessions.use_totp_step(self.platform.pool, login.person_id, step)

    async def check_account(self, password: str) -> Login:
        """The account whose password this is; with a second factor it is not proved yet.

        Raises a problem: 429 while locked, 401 when the password is wrong.
        """
        if self.platform.passwords.is_full:  # Before anything is looked up.
            raise _too_many()
        await self.require_unlocked()
        login = await sessions.find_login(self.platform.pool, self.account)
        if not await self.check_password(login, password) or login is None:
            raise await self.fail(401, "adresse ou mot de passe incorrect")
        return login

    async def check_second_factor(self, login: Login, code: str) -> None:
        """Raises 401 when the code is not the account's of now."""
        if not await self.check_code(login, code):
            raise await self.fail(
                401,
                "code incorrect, déjà utilisé ou d'une autre heure : vérifiez que l'heure de votre téléphone "
                "est automatique",
            )

    async def check(self, password: str, code: str | None) -> Login:
        """The account that was proved.

        Raises a problem: 429 while locked, 401 when the password is wrong, the code is wrong or is missing.
        """
        login = await self.check_account(password)
        if login.has_totp:
            if not code:
                message = "donnez aussi le code de votre téléphone, ou un code de secours"
                raise Problem(
                    401, message, errors=[FieldError(field="body.code", code=TOTP_REQUIRED, message=message)]
                )
            await self.check_second_factor(login, code)
        await self.succeed()
        return login
