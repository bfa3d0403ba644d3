"""The HTTP API is what it was: paths, operations, statuses, schema names, descriptions.

After a change that is wanted: WRITE_OPENAPI=1 pytest -n 0 tests/characterisation/test_openapi.py
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from registry.keys import KeyWrap

SNAPSHOT = Path(__file__).with_name("openapi.json")
MOST_SHOWN = 20


def differences(was: Any, now: Any, path: str = "") -> Iterator[str]:
    """The places that differ, each once, as deep as they go."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted(was.keys() | now.keys()):
            place = f"{path}/{key.replace('/', '~1')}"
            if key not in now:
                yield f"gone {place}"
            elif key not in was:
                yield f"new {place}"
            elif key == "required" and isinstance(was[key], list):  # Which properties; their order says nothing.
                yield from differences(sorted(was[key]), sorted(now[key]), place)
            else:
                yield from differences(was[key], now[key], place)
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for place, (one, other) in enumerate(zip(was, now, strict=True)):
            yield from differences(one, other, f"{path}/{place}")
    elif type(was) is not type(now) or was != now:
        yield f"changed {path}"


def test_openapi_document_equals_snapshot() -> None:
    document = create_app(None, None, KeyWrap("kek-1", bytes(16)), 4).openapi()  # pyright: ignore[reportArgumentType]
    text = json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    if os.environ.get("WRITE_OPENAPI"):
        SNAPSHOT.write_text(text, "utf-8")

    found = list(differences(json.loads(SNAPSHOT.read_text("utf-8")), json.loads(text)))

    if found:
        shown = "\n".join(found[:MOST_SHOWN])
        pytest.fail(f"{len(found)} changes (WRITE_OPENAPI=1 accepts them):\n{shown}", pytrace=False)


def test_differences_names_added_removed_and_changed_places() -> None:
    was = {"paths": {"/v1/a": {"get": 1}, "/v1/b": [1, 2]}, "x": True}
    now = {"paths": {"/v1/b": [1, 3], "/v1/c": {}}, "x": 1}

    assert list(differences(was, now)) == [
        "gone /paths/~1v1~1a",
        "changed /paths/~1v1~1b/1",
        "new /paths/~1v1~1c",
        "changed /x",
    ]
