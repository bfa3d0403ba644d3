"""What is grave asks for the password or a code again; then, for ten minutes, it does not."""

import re
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import TypeVar

from pydantic import ValidationError

from api.auth import PROOF_LASTS, Caller
from api.console.forms import Form
from api.routes.sessions import Proof, check_proof
from core.runtime.http.errors import FieldError, Problem, problem_of

FIELD = "proof"
# Six digits are too short for a password.
TELEPHONE_CODE = re.compile(r"\d{3} ?\d{3}")
ASKED = "donnez votre mot de passe, ou un code de votre téléphone"

Answered = TypeVar("Answered")


def is_proof_due(caller: Caller) -> bool:
    """Whether a grave act of this person needs the password or a code with it."""
    return datetime.now(UTC) - caller.person().row.proved_at > PROOF_LASTS


async def check_proof_of(form: Form, caller: Caller) -> None:
    """Before a route that demands a proof, which it does not look for when a page calls it.

    Raises 403 when none was given and the last one is too old, 401 when it is wrong.
    """
    given = form.fields.get(FIELD)
    if isinstance(given, str) and given:
        await check_proof(caller, _proof_of(given))
    elif is_proof_due(caller):
        raise Problem(403, ASKED, errors=[FieldError(field=FIELD, code="proof_required", message=ASKED)])


def _proof_of(given: str) -> Proof:
    try:
        if TELEPHONE_CODE.fullmatch(given.strip()):
            return Proof.model_validate({"code": given.replace(" ", "")})
        return Proof.model_validate({"password": given})
    except ValidationError:
        raise Problem(401, "mot de passe ou code incorrect") from None


async def done(act: Awaitable[Answered]) -> Answered:
    """What a route of the API answers; what the database rejects is a problem here as it is there."""
    try:
        return await act
    except Problem:
        raise
    except Exception as error:
        rejected = problem_of(error)
        if rejected is None:
            raise
        raise rejected from None
