"""Random requests of one tenant, by every role, that name what is another's: nothing may come of them.

Three things are watched. No answer holds a text of the other tenant's. A request that names what is the other's is
answered as the same request that names what nobody has. And no row of the other tenant's has changed afterwards.
Besides, no answer is a 5xx, and each has a status that the OpenAPI document promises for its operation.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi.routing import APIRoute

from api.app import ROUTERS
from api.auth import RequireRight
from core.model.ownership import REGISTERED_ELSEWHERE
from core.runtime.postgres import Pool, open_pool
from lab.bench.isolation_world import Attacker, NewClient, Planted, open_attackers, plant

# By their right an operator's: they are about every tenant (tests/api/rights_of_routes.txt).
OF_OPERATORS = "operate"
# They end the caller's own session or account; nothing in them names anybody else.
OF_THE_CALLER = re.compile(r"/v1/(session$|session/|account/|oidc/|sessions|password-resets|invitations/accept)")
# Which things a field of a body or a query names; `{slug}` and the like are found by their own name.
NAMED_BY: Mapping[str, tuple[str, ...]] = {
    "asset_id": ("assets",),
    "parent_id": ("assets",),
    "dev_eui": ("devices",),
    "dev_euis": ("devices",),
    "eui": ("gateways", "devices"),
    "gateway_id": ("gateways",),
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
# Of what is wrong in JSON.
POSITION = re.compile(r"\bbody\.\d+\b")
CONTESTING = ("post", "/v1/eui-claims")
# An operator works for every tenant, and may name any.
TENANTS = frozenset({"tenants", "slugs"})
# How long the stream of live frames is to go on: no longer than it must.
WAITING = "seconds"
# Shares of requests and fields.
OWN, OPTIONAL, WRONG = 0.25, 0.4, 0.03
# What is shorter is the number of a row.
LONGEST_NUMBER = 9
PLAIN: tuple[Any, ...] = (None, True, 0, 1, 42, "a", "on", "2026-01-01T00:00:00Z", "ab" * 8, [], [1], {}, 1.5)
ODD: tuple[Any, ...] = (*PLAIN, -1, 2**31, 2**63, "", "\u0000", "é" * 300, "9999-12-31T23:59:59-12:00", {"a": {}})
ROWS_OF_A_TENANT = """
SELECT c.table_name FROM information_schema.columns c
JOIN information_schema.tables t USING (table_schema, table_name)
WHERE c.table_schema = 'public' AND c.column_name = 'tenant_id' AND t.table_type = 'BASE TABLE'
"""
# Lines of the audit come when somebody contests an EUI, and the use of a key is no change.
WRITTEN_BESIDE = frozenset({"audit_line", "audit_detail", "rejected_login"})


@dataclass(frozen=True, slots=True)
class Call:
    """A request, without what varies between the other tenant's things and those that nobody has."""

    method: str
    template: str
    path: str
    query: tuple[tuple[str, str], ...]
    body: str | None
    named: bool
    """Whether it names anything of the other tenant's."""

    def naming(self, values: Mapping[str, str]) -> "Call":
        """The same with other names in it."""
        return Call(
            self.method,
            self.template,
            _replaced(self.path, values),
            tuple((name, _replaced(value, values)) for name, value in self.query),
            None if self.body is None else _replaced(self.body, values),
            self.named,
        )


@dataclass(slots=True)
class Findings:
    """What came of the requests; `leaks` and `faults` are to be empty."""

    requests: int = 0
    naming: int = 0
    """Those that named something of the other tenant's."""
    statuses: Counter[int] = field(default_factory=Counter[int])
    by_caller: Counter[str] = field(default_factory=Counter[str])
    leaks: list[str] = field(default_factory=list[str])
    faults: list[str] = field(default_factory=list[str])
    """Statuses that the document does not have, and of 5xx it has 503 alone."""

    @property
    def is_reached(self) -> bool:
        """Whether nothing leaked and nothing failed."""
        return not self.leaks and not self.faults


def _replaced(text: str, values: Mapping[str, str]) -> str:
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text


class Requests:
    """Random requests over every operation of the document, which name the victim's things and the caller's own.

    The victim's stand in them as placeholders: `other` fills in what exists, `nobody` what does not.
    """

    def __init__(self, document: Mapping[str, Any], victim: Planted, own: Planted, source: random.Random) -> None:
        self._schemas = document["components"]["schemas"]
        self._source = source
        self._own = own
        self._spared: frozenset[str] = frozenset()
        self.operations = [
            (method, path, operation)
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
            if not OF_THE_CALLER.match(path)
        ]
        self.other: dict[str, str] = {}
        self._placeholders: dict[str, list[str]] = {}
        known = victim.ids | {"slugs": [victim.slug], "marks": [victim.mark]}
        for segment, values in known.items():
            for number, value in enumerate(values):
                # Letters outside of ASCII: no value of the generator's own looks like one.
                placeholder = f"⟦{segment}{number}⟧"
                self._placeholders.setdefault(segment, []).append(placeholder)
                self.other[placeholder] = value

    def nobody(self) -> dict[str, str]:
        """What nobody has, in place of `other`: drawn anew each time, for a request may have registered it."""
        return {placeholder: self._unknown(value) for placeholder, value in self.other.items()}

    def _unknown(self, value: str) -> str:
        """Of the same form, and nobody's."""
        if value.isdecimal() and len(value) < LONGEST_NUMBER:
            return str(1_900_000_000 + self._source.randrange(100_000_000))
        flipped = value[:-6] + "".join(self._source.choice("0123456789abcdef") for _ in range(6))
        return flipped if flipped != value else self._unknown(value)

    def draw(self, *, operator: bool, rights: Mapping[tuple[str, str], str]) -> Call:
        """One request, for a caller who is an operator or not."""
        while True:
            method, path, operation = self._source.choice(self.operations)
            is_of_operators = rights.get((method, path)) == OF_OPERATORS or path.startswith("/v1/tenants")
            if not (operator and is_of_operators):
                break
        self._spared = TENANTS if operator else frozenset()
        filled = re.sub(r"([a-z-]+(?:/[a-z-]+)?)/\{(\w+)\}", self._path_part, path)
        query = [
            (one["name"], str(self._value(one["name"], one["schema"])))
            for one in operation.get("parameters", [])
            if one["in"] == "query" and self._source.random() < OPTIONAL
        ]
        body = None
        if "requestBody" in operation:
            schema = next(iter(operation["requestBody"]["content"].values()))["schema"]
            body = json.dumps(self._value("", schema), ensure_ascii=False)
            if self._source.random() < WRONG:
                body = body[: len(body) // 2]
        text = f"{filled} {query} {body}"
        return Call(method, path, filled, tuple(query), body, "⟦" in text)

    def _path_part(self, matched: re.Match[str]) -> str:
        before, name = matched[1], matched[2]
        if name == "name":
            return f"{before}/switch_on"
        segments = [before, before.rsplit("/", 1)[-1], "gateways" if name == "gateway_id" else ""]
        for segment in segments:
            if segment in self._placeholders:
                return f"{before}/{self._thing(segment)}"
        return f"{before}/1"

    def _thing(self, segment: str) -> str:
        own = self._own.ids.get(segment)
        if segment in self._spared or (own and self._source.random() < OWN):
            return self._source.choice(own or [self._own.slug])
        return self._source.choice(self._placeholders[segment])

    def _value(self, name: str, schema: Mapping[str, Any], depth: int = 0) -> Any:
        if "$ref" in schema:
            return self._value(name, self._schemas[schema["$ref"].rsplit("/", 1)[-1]], depth)
        if depth and self._source.random() < WRONG:
            return self._source.choice(ODD)
        if name == WAITING:
            return schema.get("minimum", schema.get("exclusiveMinimum", 1))
        if name in NAMED_BY and schema.get("type") != "array":
            value = self._thing(self._source.choice(NAMED_BY[name]))
            return value if "⟦" in value or not value.isdecimal() else int(value)
        return self._of_form(name, schema, depth)

    def _of_form(self, name: str, schema: Mapping[str, Any], depth: int) -> Any:
        if "properties" in schema:
            required = set(schema.get("required", ()))
            return {
                one: self._value(one, described, depth + 1)
                for one, described in schema["properties"].items()
                if one in required or self._source.random() < OPTIONAL
            }
        for several in ("anyOf", "oneOf"):
            if several in schema:
                return self._value(name, self._source.choice(schema[several]), depth)
        if schema.get("type") == "array" and not schema.get("examples"):
            return [self._value(name, schema.get("items", {}), depth + 1)]
        known = schema.get("examples") or schema.get("enum") or [schema.get("default", self._source.choice(PLAIN))]
        return self._source.choice(known)


async def measure(new_client: NewClient, database_url: str, count: int, seed: int) -> tuple[Findings, list[str]]:
    """Plant two tenants and attack one from the other; what was found, and the tables of its that have changed."""
    source = random.Random(seed)
    async with open_pool(database_url, "bench", size=1) as pool, new_client({}) as client:
        document = (await client.get("/openapi.json")).json()
        victim, own = await plant(new_client, pool, "cible"), await plant(new_client, pool, "attaque")
        before = await rows_of(pool, victim.tenant_id)
        requests = Requests(document, victim, own, source)
        async with open_attackers(new_client, pool, own.tenant_id) as attackers:
            found = await attack(requests, attackers, victim, document, count, source)
        after = await rows_of(pool, victim.tenant_id)
    return found, sorted(table for table in before if before[table] != after[table])


async def attack(
    requests: Requests,
    attackers: Sequence[Attacker],
    victim: Planted,
    document: Mapping[str, Any],
    count: int,
    source: random.Random,
) -> Findings:
    """Make so many requests, each by one of the callers, and compare; what was found."""
    found, rights, documented = Findings(), rights_of_routes(), documented_statuses(document)
    # What only the other tenant has said; its EUIs are in the callers' own requests and audit.
    marks = [victim.mark, str(victim.measured)]
    for _ in range(count):
        caller = source.choice(attackers)
        call = requests.draw(operator=caller.is_operator, rights=rights)
        real = call.naming(requests.other)
        answer = await _send(caller, real)
        found.requests += 1
        found.naming += call.named
        found.statuses[answer.status_code] += 1
        found.by_caller[caller.name] += 1
        said = f"{caller.name}: {real.method.upper()} {real.path} {dict(real.query)} {real.body}"
        _check_status(found, call, answer, documented, said)
        sent = f"{real.path} {real.query} {real.body}".lower()
        shown = [mark for mark in marks if mark in answer.text.lower() and mark not in sent]
        if shown:
            found.leaks.append(f"{said}: shows {shown}: {answer.text[:300]}")
        if not call.named:
            continue
        nobody = requests.nobody()
        twin = await _send(caller, call.naming(nobody))
        _check_status(found, call, twin, documented, f"{said} (of nobody)")
        difference = _difference(answer, twin, call, nobody, requests.other)
        if difference:
            found.leaks.append(f"{said}: {difference}")
    return found


async def _send(caller: Attacker, call: Call) -> httpx.Response:
    # Numbers that were placeholders stand in the body as texts, which are taken for numbers.
    return await caller.client.request(
        call.method,
        call.path,
        params=list(call.query),
        content=None if call.body is None else call.body.encode("utf-8", "surrogatepass"),
        headers={"Content-Type": "application/json"},
        timeout=60,
    )


def _check_status(
    found: Findings,
    call: Call,
    answer: httpx.Response,
    documented: Mapping[tuple[str, str], set[str]],
    said: str,
) -> None:
    if str(answer.status_code) not in documented[call.method, call.template]:
        found.faults.append(f"{said}: {answer.status_code}: {answer.text[:300]}")


def _difference(
    real: httpx.Response, twin: httpx.Response, call: Call, nobody: Mapping[str, str], other: Mapping[str, str]
) -> str | None:
    """How an answer about what is another's differs from that about what nobody has; None: it does not."""
    if real.is_success:
        # The first may have taken what the second asks for; a second removal finds nothing.
        if twin.status_code in {404, 422} and call.method != "delete":
            return f"{real.status_code} for another's, {twin.status_code} for nobody's: {twin.text[:300]}"
        return None
    # What is registered elsewhere is told so, to who registers it and to who contests it.
    if REGISTERED_ELSEWHERE in real.text or (call.method, call.template) == CONTESTING:
        return None
    # Where JSON ends too early goes by how long the names in it are.
    of_real, of_twin = POSITION.sub("body", real.text), POSITION.sub("body", twin.text)
    for placeholder, value in nobody.items():
        of_twin = of_twin.replace(value, other[placeholder])
    if (real.status_code, of_real) != (twin.status_code, of_twin):
        return f"{real.status_code} {of_real[:300]}, but of nobody {twin.status_code} {twin.text[:300]}"
    return None


async def rows_of(pool: Pool, tenant_id: int) -> dict[str, str]:
    """A digest of the tenant's rows in each table."""
    tables = sorted({row[0] for row in await pool.fetch(ROWS_OF_A_TENANT)} - WRITTEN_BESIDE)
    return {
        table: await pool.fetchval(
            f"SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {table} t "
            "WHERE tenant_id = $1",
            tenant_id,
        )
        for table in tables
    }


def rights_of_routes() -> dict[tuple[str, str], str]:
    """Which right opens each route."""
    return {
        (method.lower(), route.path): one.call.right
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
        for one in route.dependant.dependencies
        if isinstance(one.call, RequireRight)
    }


def documented_statuses(document: Mapping[str, Any]) -> dict[tuple[str, str], set[str]]:
    """Which statuses each operation promises."""
    return {
        (method, path): set(operation["responses"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
