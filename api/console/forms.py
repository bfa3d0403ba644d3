"""Forms of pages: what was typed, whether it comes from a page of ours, and what is wrong with it."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile

from api.cookies import csrf_token
from api.fields import EARLIEST, INT4_MOST, LATEST
from core.runtime.http.errors import FieldError, Problem, field_errors, invalid

TOKEN_FIELD = "csrf"  # noqa: S105 - The name of a field.
# Typed before a session ended, and carried through the login that follows.
CARRIED = "saisi."
DESTINATION = "vers"
# These never go back to the browser.
SECRETS = frozenset({TOKEN_FIELD, "password", "current", "code", "secret", "proof"})
FIELDS_AT_MOST = 200
FORM = ("application/x-www-form-urlencoded", "multipart/form-data")

Content = TypeVar("Content", bound=BaseModel)


def make_token(session_token: str) -> str:
    """For a hidden field; another for each page, so that compression tells nothing of it."""
    salt = secrets.token_hex(8)
    return f"{salt}.{_digest(session_token, salt)}"


def _digest(session_token: str, salt: str) -> str:
    return hmac.new(csrf_token(session_token).encode(), salt.encode(), hashlib.sha256).hexdigest()


def is_ours(form_token: str, session_token: str) -> bool:
    """Whether the form comes from a page that was made for this session."""
    salt, _, digest = form_token.partition(".")
    return hmac.compare_digest(_digest(session_token, salt).encode(), digest.encode())


@dataclass(frozen=True, slots=True)
class Form:
    """What a browser has sent."""

    fields: FormData = field(default_factory=FormData)

    def text(self, name: str) -> str:
        """The last value of a field; empty when it was not sent, or is a file."""
        value = self.fields.get(name)
        return value.strip() if isinstance(value, str) else ""

    def texts(self, name: str) -> list[str]:
        """Every value of a field, such as the boxes that were ticked."""
        return [value for value in self.fields.getlist(name) if isinstance(value, str)]

    def file(self, name: str) -> UploadFile | None:
        """A file that was sent."""
        value = self.fields.get(name)
        return value if isinstance(value, UploadFile) and value.filename else None

    @property
    def token(self) -> str:
        """What proves that it is ours."""
        return self.text(TOKEN_FIELD)

    def carried(self) -> Iterator[tuple[str, str]]:
        """What may be shown again, by name."""
        for name, value in self.fields.multi_items():
            if isinstance(value, str) and name not in SECRETS and not name.startswith(CARRIED):
                yield name, value

    def of(self, model: type[Content], names: Iterable[str] | None = None) -> Content:
        """The content of a request to the API; raises 422 with what is wrong in each field.

        An empty field is one that was not filled in.
        """
        known = set(model.model_fields if names is None else names)
        return checked(model, {name: self.text(name) for name in known if self.text(name)})


def checked(model: type[Content], given: Mapping[str, Any]) -> Content:
    """What was given as the content of a request to the API; raises 422 with what is wrong in each field."""
    try:
        return model.model_validate(given, strict=False)
    except ValidationError as wrong:
        errors = field_errors(wrong.errors())
        raise Problem(422, "; ".join(error.message for error in errors), errors=errors) from None


def number_of(text: str, most: int = INT4_MOST) -> int | None:
    """The number of an object as a form carries it; None when the text is none."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(most))
    return int(text) if is_number and 1 <= int(text) <= most else None


def midnight_of(field: str, text: str, zone: ZoneInfo, *, ends: bool = False) -> datetime | None:
    """The beginning of the day that was typed, where the tenant is, or with `ends` its end; None without a day.

    Raises 422 for what is no day of this platform's years.
    """
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.min
    if not EARLIEST.date() < day < LATEST.date():
        raise invalid(field, "day", "jour attendu, par exemple 2026-11-25")
    return datetime.combine(day + timedelta(days=1 if ends else 0), time(), zone)


def instant_of(field: str, text: str, zone: ZoneInfo) -> datetime | None:
    """The instant that was typed, where the tenant is; None without one. Raises 422 for what is none."""
    if not text:
        return None
    try:
        typed = datetime.fromisoformat(text)
    except ValueError:
        raise invalid(field, "instant", "jour et heure attendus, par exemple 2026-11-27T23:30") from None
    return typed if typed.tzinfo else typed.replace(tzinfo=zone)


def errors_by_field(problem: Problem | None) -> dict[str, FieldError]:
    """What is wrong in each field, by the field's own name."""
    errors = (problem.errors if problem else None) or ()
    return {error.field.removeprefix("body.").partition(".")[0]: error for error in errors}


async def read_form(request: Request) -> Form:
    """What the request brings; an empty form when it brings none."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method != "POST" or kind not in FORM:
        return Form()
    return Form(await request.form(max_fields=FIELDS_AT_MOST, max_files=4))
