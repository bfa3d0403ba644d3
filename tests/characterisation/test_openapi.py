"""The HTTP API keeps what it has promised: a change that breaks software of others fails, an addition does not.

`openapi.json` beside this file is the promise. WRITE_OPENAPI=1 pytest -n 0 tests/characterisation/test_openapi.py
writes it anew: after an addition, so that it is kept from then on, and after a break that is wanted, which
CHANGELOG.md and docs/api.md name.
"""

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from registry.keys import KeyWrap
from tests.characterisation.openapi_breaks import breaks

SNAPSHOT = Path(__file__).with_name("openapi.json")
MOST_SHOWN = 20


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """As the application makes it, which takes two seconds; asked for twice, it is the same."""
    app = create_app(None, None, KeyWrap("kek-1", bytes(16)), 4)  # pyright: ignore[reportArgumentType]
    first = copy.deepcopy(app.openapi())
    assert app.openapi() == first
    return first


def test_openapi_document_breaks_nothing_that_it_promised(document: dict[str, Any]) -> None:
    # In the order of the document: JSON is the first of the formats of an answer, which generators take.
    text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    if os.environ.get("WRITE_OPENAPI"):
        SNAPSHOT.write_text(text, "utf-8")

    found = breaks(json.loads(SNAPSHOT.read_text("utf-8")), json.loads(text))

    if found:
        shown = "\n".join(found[:MOST_SHOWN])
        pytest.fail(f"{len(found)} breaks (WRITE_OPENAPI=1 accepts them):\n{shown}", pytrace=False)


def test_every_post_documents_the_header_once(document: dict[str, Any]) -> None:
    operations = [
        operation["post"]
        for operation in document["paths"].values()
        if "post" in operation and operation["post"].get("security")
    ]

    assert len(operations) > 40
    for operation in operations:
        names = [one["name"] for one in operation["parameters"]]
        assert names.count("Idempotency-Key") == 1, operation["summary"]
        assert {"409", "422"} <= operation["responses"].keys()


def test_keys_of_meters_are_only_written(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    for body in ("DeviceDecodingKey", "ProfileDecodingKey"):
        assert schemas[body]["properties"]["key"]["writeOnly"] is True
    answers = [
        answer["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for path, methods in document["paths"].items()
        if path.endswith("/decoding-key")
        for operation in methods.values()
        for status, answer in operation["responses"].items()
        if status == "200"
    ]
    assert len(answers) == 4
    assert not any("key" in schemas[answer]["properties"] for answer in answers)


def small() -> dict[str, Any]:
    """An API of one operation."""
    answer = {
        "type": "object",
        "properties": {
            "id": {"type": "integer"},
            "state": {"enum": ["open", "closed"], "type": "string"},
            "parent": {"anyOf": [{"$ref": "#/components/schemas/Asset"}, {"type": "null"}]},
        },
        "required": ["id", "state"],
    }
    body = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 50},
            "kind": {"enum": ["bin", "room"], "type": "string"},
            "height": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        },
        "required": ["name"],
        "additionalProperties": False,
    }
    operation = {
        "operationId": "createAsset",
        "tags": ["assets"],
        "parameters": [{"in": "query", "name": "limit", "schema": {"type": "integer", "maximum": 1000}}],
        "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewAsset"}}}},
        "responses": {
            "201": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Asset"}}}},
            "422": {},
        },
    }
    return {
        "paths": {"/v1/assets": {"post": operation}},
        "components": {"schemas": {"Asset": answer, "NewAsset": body}},
    }


OPERATION = "paths./v1/assets.post"
ASKED = "components.schemas.NewAsset"
SAID = "components.schemas.Asset"
GONE = object()


def changed(document: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """A copy in which what is at a place is another, or gone."""
    copied = copy.deepcopy(document)
    *path, last = place.split(".")
    at: Any = copied
    for name in path:
        at = at[int(name) if isinstance(at, list) else name]
    if value is GONE:
        del at[last]
    else:
        at[last] = value
    return copied


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("paths./v1/assets", GONE, "gone"),
        (OPERATION, GONE, "gone"),
        (f"{OPERATION}.operationId", "makeAsset", "operationId"),
        (f"{OPERATION}.responses.422", GONE, "answer 422 gone"),
        (f"{OPERATION}.parameters", [], "parameter limit gone"),
        (f"{OPERATION}.parameters.0.required", True, "required now"),
        (f"{OPERATION}.parameters.0.schema.maximum", 100, "maximum is narrower"),
        (f"{ASKED}.required", ["name", "kind"], ".kind: required now"),
        (f"{ASKED}.properties.kind", GONE, ".kind: not taken"),
        (f"{ASKED}.properties.kind.enum", ["bin"], "fewer values"),
        (f"{ASKED}.properties.name.maxLength", 20, "maxLength is narrower"),
        (f"{ASKED}.properties.height", {"type": "number"}, ".height: takes"),
        (f"{SAID}.properties.id", GONE, ".id: gone"),
        (f"{SAID}.properties.id.type", "string", ".id: is ['string']"),
        (f"{SAID}.properties.id", {"anyOf": [{"type": "integer"}, {"type": "null"}]}, ".id: is ['null']"),
        (f"{SAID}.properties.state.enum", ["open"], "a value is gone"),
        (f"{SAID}.required", ["id"], ".state: may be absent"),
    ],
)
def test_change_that_breaks_is_found(place: str, value: Any, said: str) -> None:
    found = breaks(small(), changed(small(), place, value))

    assert [problem for problem in found if said in problem], found


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("paths./v1/assets.get", {"operationId": "listAssets", "responses": {}}),
        (f"{OPERATION}.responses.409", {}),
        (f"{OPERATION}.summary", "Créer un actif"),
        (f"{OPERATION}.parameters.0.schema.maximum", 5000),
        (f"{ASKED}.properties.commune", {"type": "string"}),
        (f"{ASKED}.properties.kind.enum", ["bin", "room", "pole"]),
        (f"{ASKED}.required", []),
        (f"{SAID}.properties.commune", {"type": "string"}),
        (f"{SAID}.properties.state.enum", ["open", "closed", "lost"]),
        (f"{SAID}.properties.parent", {"type": "null"}),
    ],
)
def test_addition_breaks_nothing(place: str, value: Any) -> None:
    assert breaks(small(), changed(small(), place, value)) == []
