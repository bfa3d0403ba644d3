"""The requests of `isolation`: random ones over every operation, that name another tenant's things and one's own.

Half of them are about what shows much at once: lists with filters, orders and formats, the map, PDFs and files.
"""

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from api.list_formats import CSV, GEOJSON, JSON
from lab.bench.isolation_world import Planted

# By their right an operator's: they are about every tenant (tests/api/rights_of_routes.txt).
OF_OPERATORS = "operate"
# They end the caller's own session or account; nothing in them names anybody else.
OF_THE_CALLER = re.compile(r"/v1/(session$|session/|account/|oidc/|sessions|password-resets|invitations/accept)")
# Which things a field of a body or a query names; `{slug}` and the like are found by their own name.
NAMED_BY: Mapping[str, tuple[str, ...]] = {
    "contributor_id": ("cost-contributors",),
    "corrects": ("cost-entries",),
    "asset_id": ("assets",),
    "parent_id": ("assets",),
    "asset_ids": ("assets",),
    "alert_id": ("alerts",),
    "alert_ids": ("alerts",),
    "campaign_id": ("lighting-campaigns",),
    "program_id": ("lighting-programs",),
    "dev_eui": ("devices",),
    "dev_euis": ("devices",),
    "eui": ("gateways", "devices"),
    "gateway_id": ("gateways",),
    "gateway_eui": ("gateways",),
    "device_profile_id": ("device-profiles",),
    "codec_version_id": ("codec-versions",),
    "against": ("codec-versions",),
    "datastream_id": ("datastreams",),
    "lns_source_id": ("lns-sources",),
    "recipient_id": ("key-recipients",),
    "rule_id": ("alert-rules",),
    "team_id": ("teams",),
    "calendar_id": ("alert-calendars",),
    "tenant_id": ("tenants",),
    "webhook_endpoint_id": ("webhook-endpoints",),
    "tenant": ("slugs",),
    "slug": ("slugs",),
    "codec": ("codecs",),
    "entity_id": ("assets", "devices"),
    "q": ("marks",),
}
# Of filters alone: in a body they would become the caller's own words.
FILTERED_BY = frozenset({"commune", "quarter", "tag", "model", "rule", "assignee", "external_reference", "name"})
NAMED_IN_PATH = re.compile(r"([a-z-]+(?:/[a-z-]+)?)/\{(\w+)\}")
# Where the victims are, and all of France; inverted, and too far.
FORMS: Mapping[str, tuple[str, ...]] = {
    "bbox": ("-5,47,-3,49", "-4.2501,48.4499,-4.2499,48.4501", "-5,41,10,51.5", "-3,47,-5,49"),
    "near": ("-4.25,48.45", "-4.251,48.451"),
    "radius": ("1", "100000", "200000"),
    "limit": ("1", "2", "1000", "10000"),
    "from": ("2000-01-01T00:00:00Z", "2026-01-01"),
    "to": ("2100-01-01T00:00:00Z", "2100-01-01"),
    "bucket": ("day",),
}
# What a caller accepts; the first for what is no list.
FORMATS = (JSON, GEOJSON, CSV)
SHOWS_MUCH = ("/v1/assets/map", ".pdf", ".csv")
# An operator works for every tenant, and may name any.
TENANTS = frozenset({"tenants", "slugs"})
# How long the stream of live frames is to go on: no longer than it must.
WAITING = "seconds"
# Shares of requests and fields.
OWN, OPTIONAL, WRONG, MUCH = 0.25, 0.4, 0.03, 0.5
# What is shorter is the number of a row.
LONGEST_NUMBER = 9
PLAIN: tuple[Any, ...] = (None, True, 0, 1, 42, "a", "on", "2026-01-01T00:00:00Z", "ab" * 8, [], [1], {}, 1.5)
ODD: tuple[Any, ...] = (*PLAIN, -1, 2**31, 2**63, "", "\u0000", "é" * 300, "9999-12-31T23:59:59-12:00", {"a": {}})


@dataclass(frozen=True, slots=True)
class Call:
    """A request, without what varies between the other tenant's things and those that nobody has."""

    method: str
    template: str
    path: str
    query: tuple[tuple[str, str], ...]
    body: str | None
    accept: str
    named: bool
    """Whether it names anything of the other tenant's."""

    def naming(self, values: Mapping[str, str]) -> "Call":
        """The same with other names in it."""
        return replace(
            self,
            path=_replaced(self.path, values),
            query=tuple((name, _replaced(value, values)) for name, value in self.query),
            body=None if self.body is None else _replaced(self.body, values),
        )


def segments_of(path: str) -> dict[str, tuple[str, ...]]:
    """Of each name in the template of a path, under which words a tenant has what it names."""
    return {name: _segments(before, name) for before, name in NAMED_IN_PATH.findall(path)}


def _segments(before: str, name: str) -> tuple[str, ...]:
    return before, before.rsplit("/", 1)[-1], "gateways" if name == "gateway_id" else ""


def _shows_much(path: str, operation: Mapping[str, Any]) -> bool:
    """Whether it is a list, the map, a PDF or a file."""
    return CSV in operation["responses"]["200"].get("content", ()) or path.endswith(SHOWS_MUCH)


def _replaced(text: str, values: Mapping[str, str]) -> str:
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text


class Requests:
    """Random requests over every operation of the document, which name the victims' things and the caller's own.

    The victims' stand in them as placeholders: `other` fills in what exists, `nobody` what does not.
    """

    def __init__(
        self, document: Mapping[str, Any], victims: Sequence[Planted], own: Planted, source: random.Random
    ) -> None:
        self._schemas = document["components"]["schemas"]
        self.source = source
        self._own = own
        self._spared: frozenset[str] = frozenset()
        self._cursors = [cursor for victim in victims for cursor in victim.cursors]
        self.operations = [
            (method, path, operation)
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
            if not OF_THE_CALLER.match(path)
        ]
        self.shows_much = [one for one in self.operations if one[0] == "get" and _shows_much(one[1], one[2])]
        self.other: dict[str, str] = {}
        self._placeholders: dict[str, list[str]] = {}
        for victim in victims:
            # What is said to whom it shares with: its name.
            known = victim.ids if victim.shares else victim.ids | {"slugs": [victim.slug], "marks": [victim.mark]}
            for segment, values in known.items():
                for value in values:
                    # Letters outside of ASCII: no value of the generator's own looks like one.
                    placeholder = f"⟦{segment}{len(self._placeholders.get(segment, ()))}⟧"
                    self._placeholders.setdefault(segment, []).append(placeholder)
                    self.other[placeholder] = value

    def nobody(self) -> dict[str, str]:
        """What nobody has, in place of `other`: drawn anew each time, for a request may have registered it."""
        return {placeholder: self._unknown(value) for placeholder, value in self.other.items()}

    def _unknown(self, value: str) -> str:
        """Of the same form, and nobody's."""
        if value.isdecimal() and len(value) < LONGEST_NUMBER:
            return str(1_900_000_000 + self.source.randrange(100_000_000))
        before, _, number = value.rpartition("-")
        if number.isdecimal() and before.isalpha():  # asset-12
            return f"{before}-{self._unknown(number)}"
        flipped = value[:-6] + "".join(self.source.choice("0123456789abcdef") for _ in range(6))
        return flipped if flipped != value else self._unknown(value)

    def draw(self, *, operator: bool, rights: Mapping[tuple[str, str], str]) -> Call:
        """One request, for a caller who is an operator or not."""
        while True:
            several = self.shows_much if self.source.random() < MUCH else self.operations
            method, path, operation = self.source.choice(several)
            is_of_operators = rights.get((method, path)) == OF_OPERATORS or path.startswith("/v1/tenants")
            if not (operator and is_of_operators):
                break
        self._spared = TENANTS if operator else frozenset()
        filled = NAMED_IN_PATH.sub(self._path_part, path)
        query = [
            (one["name"], self._query(one["name"], one["schema"]))
            for one in operation.get("parameters", [])
            if one["in"] == "query" and self.source.random() < OPTIONAL
        ]
        body = None
        if "requestBody" in operation:
            schema = next(iter(operation["requestBody"]["content"].values()))["schema"]
            body = json.dumps(self._value("", schema), ensure_ascii=False)
            if self.source.random() < WRONG:
                body = body[: len(body) // 2]
        text = f"{filled} {query} {body}"
        accept = self.source.choice(FORMATS) if (method, path, operation) in self.shows_much else JSON
        return Call(method, path, filled, tuple(query), body, accept, "⟦" in text)

    def _query(self, name: str, schema: Mapping[str, Any]) -> str:
        if name == "cursor" and self._cursors:
            return self.source.choice(self._cursors)
        if name in FILTERED_BY:
            return self._thing("marks")
        if name in FORMS:
            return self.source.choice(FORMS[name])
        shapes = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
        value = self._value(name, shapes[0])
        if isinstance(value, list):
            value = next(iter(cast(list[Any], value)), "")
        return str(value).lower() if isinstance(value, bool) else str(value)

    def _path_part(self, matched: re.Match[str]) -> str:
        before, name = matched[1], matched[2]
        if name == "name":
            return f"{before}/switch_on"
        for segment in _segments(before, name):
            if segment in self._placeholders:
                return f"{before}/{self._thing(segment)}"
        return f"{before}/1"

    def _thing(self, segment: str) -> str:
        own = self._own.ids.get(segment)
        if segment in self._spared or (own and self.source.random() < OWN):
            return self.source.choice(own or [self._own.slug])
        return self.source.choice(self._placeholders[segment])

    def _value(self, name: str, schema: Mapping[str, Any], depth: int = 0) -> Any:
        if "$ref" in schema:
            return self._value(name, self._schemas[schema["$ref"].rsplit("/", 1)[-1]], depth)
        if depth and self.source.random() < WRONG:
            return self.source.choice(ODD)
        if name == WAITING:
            return schema.get("minimum", schema.get("exclusiveMinimum", 1))
        if name in NAMED_BY and schema.get("type") != "array":
            value = self._thing(self.source.choice(NAMED_BY[name]))
            return value if "⟦" in value or not value.isdecimal() else int(value)
        return self._of_form(name, schema, depth)

    def _of_form(self, name: str, schema: Mapping[str, Any], depth: int) -> Any:
        if "properties" in schema:
            required = set(schema.get("required", ()))
            return {
                one: self._value(one, described, depth + 1)
                for one, described in schema["properties"].items()
                if one in required or self.source.random() < OPTIONAL
            }
        for several in ("anyOf", "oneOf"):
            if several in schema:
                return self._value(name, self.source.choice(schema[several]), depth)
        if schema.get("type") == "array" and not schema.get("examples"):
            return [self._value(name, schema.get("items", {}), depth + 1)]
        known = schema.get("examples") or schema.get("enum") or [schema.get("default", self.source.choice(PLAIN))]
        return self.source.choice(known)
