"""What was before a change, and what is after it, as the audit keeps it."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

Shown = BaseModel | Mapping[str, Any] | None
"""An object as its readers see it, which is without secrets; None: there is none."""


def before_and_after(before: Shown, after: Shown) -> dict[str, Any]:
    """What differs, of two; the whole, of one that was made or removed."""
    former, present = _plain(before), _plain(after)
    if former is None or present is None:
        sides = {"before": former, "after": present}
        return {name: side for name, side in sides.items() if side is not None}
    changed = [name for name in former | present if former.get(name) != present.get(name)]
    return {
        "before": {name: former.get(name) for name in changed},
        "after": {name: present.get(name) for name in changed},
    }


def _plain(shown: Shown) -> dict[str, Any] | None:
    if isinstance(shown, BaseModel):
        return shown.model_dump(mode="json")
    return None if shown is None else to_jsonable_python(dict(shown), bytes_mode="hex")
