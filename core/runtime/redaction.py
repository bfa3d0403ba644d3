"""Removes secrets from log lines: by the name of a field, and by patterns inside a text.

Texts are what drivers and libraries print, exceptions with their causes, and whatever stands in for an object that
log cannot show: nobody foresees what these quote. Rather too much is hidden than too little.
"""

import re
from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from typing import Any, cast

REDACTED = "***"
SHORT = 32
SECRET_NAME = re.compile(r"key|secret|passw|pwd|token|authorization|credential|cookie|kek", re.IGNORECASE)
SAFE_NAMES = frozenset({"kek_id", "key_id"})

_CREDENTIALS = re.compile(
    # In an address: up to its last @, for a password may hold one, or a slash.
    r"(?<=://)[^\s\"'<>]*@"
    # What an HTTP header presents.
    r"|\b(?:bearer|basic)\s+[\w.~+/=-]{8,}"
    # A webhook's secret, an API key of ours.
    r"|\bwhsec_[\w+/=-]+|\bterr_[0-9a-f]+_[\w-]+"
    # A value after its name, in a query, in a header, in the representation of an object.
    r"|(?P<name>\b\w*(?:secret|passw(?:or)?d|passwd|pwd|token|authorization|credential|cookie|kek|[a-z]_?key))"
    r"(?P<between>\\?[\"']?\)?\s*[=:]\s*\(?(?:[\w.]*\()?(?:b(?=\\?[\"']))?\\?[\"']?)"
    r"(?!\*\*\*|\s)(?:(?:bearer|basic)\s+)?[^\s\"',;&)}\\]+",
    re.IGNORECASE,
)
# A key of AES, 16 to 32 octets. A trace or a message has a name as long: of those that stand alone, in a text.
_BARE_KEY = re.compile(r"\b(?:[0-9a-f]{32}|[0-9a-f]{48}|[0-9a-f]{64})\b", re.IGNORECASE)


def redact_text(text: str) -> str:
    """The text without what looks like a credential."""
    if len(text) <= SHORT and (
        text.isalnum() or text.isidentifier()
    ):  # Nearly all: the name of an event, an outcome.
        return text
    return _CREDENTIALS.sub(_replace, text)


def redact_free_text(text: str) -> str:
    """As `redact_text`, and without whatever could be a key: for texts of libraries and exceptions."""
    return _BARE_KEY.sub(REDACTED, redact_text(text))


def _replace(found: re.Match[str]) -> str:
    if found["name"]:
        return f"{found['name']}{found['between']}{REDACTED}"
    return f"{REDACTED}@" if found[0].endswith("@") else REDACTED


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide values whose name says that they are secret, at any depth, and credentials inside texts."""
    for name, value in event.items():
        event[name] = _redacted(name, value)
    if "exception" in event:
        event["exception"] = redact_free_text(str(event["exception"]))
    return event


@lru_cache(maxsize=1_000)
def _is_secret(name: str) -> bool:
    return name not in SAFE_NAMES and SECRET_NAME.search(name) is not None


def _redacted(name: str, value: Any) -> Any:
    if _is_secret(name):
        return REDACTED
    match value:
        case str():
            return redact_text(value)
        case Mapping():
            items = cast("Mapping[object, Any]", value).items()
            return {inner: _redacted(str(inner), under) for inner, under in items}
        case list() | tuple() | set() | frozenset():
            return [_redacted("", under) for under in cast("list[Any]", value)]
        case None | int() | float():
            return value
        case _:  # What a line shows of any other object.
            shown = repr(value)
            return redact_free_text(shown) if isinstance(value, BaseException) else redact_text(shown)
