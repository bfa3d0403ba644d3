"""Requests that schemathesis draws from the OpenAPI document, by every role: no 5xx, no breach of the document.

Of each operation some that keep to it and some that do not. Half of what a path names is replaced by what the
caller's tenant has: nobody meets its ids by chance. What is answered is held against the document: status, content
type, schema, headers; and what breaks the document is not to be taken.
"""

# What schemathesis leaves unknown of its types stays within this module.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeArgument=false

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import httpx
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.core.failures import FailureGroup
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi import checks as openapi_checks

from core.runtime.postgres import Pool, open_pool
from lab.bench.isolation_requests import FORMATS, OF_THE_CALLER, WAITING, segments_of
from lab.bench.isolation_world import Attacker, NewClient, Planted, open_attackers, plant

BASE = "https://api"
OWN = 0.5
NOBODY = "nobody"
# Headers that say who asks, or how to answer: the caller's own.
OF_THE_CLIENT = frozenset({"authorization", "cookie", "host", "content-length", "accept-encoding", "connection"})
SERVER_ERROR, AWAY = 500, 503
CHECKS = [
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.negative_data_rejection,
]


@dataclass(slots=True)
class Verdict:
    """What came of the requests; `breaches` is to be empty."""

    operations: int = 0
    requests: int = 0
    unsendable: int = 0
    """Those of which no HTTP request can be made."""
    statuses: Counter[int] = field(default_factory=Counter[int])
    by_caller: Counter[str] = field(default_factory=Counter[str])
    breaches: dict[str, str] = field(default_factory=dict[str, str])
    """The first request of each kind and operation, with what was answered."""


async def measure(new_client: NewClient, database_url: str, each: int, chosen: int) -> Verdict:
    """Ask every operation `each` times in each of the two manners."""
    async with open_pool(database_url, "bench", size=1) as pool, new_client({}) as client:
        document = (await client.get("/openapi.json")).json()
        return await ask_all(new_client, pool, document, each, random.Random(chosen))


async def ask_all(
    new_client: NewClient,
    pool: Pool,
    document: Mapping[str, Any],
    each: int,
    source: random.Random,
    share: float = 1,
) -> Verdict:
    """Ask a share of the operations, each by callers that are drawn among every role, keys, and nobody at all."""
    own = await plant(new_client, pool, "contrat")
    load_all_checks()
    schema = schemathesis.openapi.from_dict(dict(document))
    found = Verdict()
    async with open_attackers(new_client, pool, own.tenant_id) as known, new_client({}) as unknown:
        callers = [*known, Attacker(NOBODY, is_operator=False, client=unknown)]
        for drawn in schema.get_all_operations():
            operation: APIOperation[Any, Any, Any, Any] = drawn.ok()  # pyright: ignore[reportAttributeAccessIssue]
            if source.random() >= share:
                continue
            found.operations += 1
            for case in _cases(operation, each, source.randrange(1 << 32)):
                # Who asks to leave has left.
                several = callers[-1:] if OF_THE_CALLER.match(operation.path) else callers
                await _ask(case, own, source.choice(several), source, found)
    return found


def _cases(operation: APIOperation[Any, Any, Any, Any], each: int, chosen: int) -> Iterator[Case]:
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        drawn: list[Case] = []

        @seed(chosen)
        @settings(
            max_examples=each,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        @given(operation.as_strategy(generation_mode=mode))
        def draw(case: Case) -> None:
            drawn.append(case)  # noqa: B023 - It is called before the next turn.

        try:
            draw()
        except Exception as impossible:  # Of an operation without parameters nothing is malformed.
            if "Unsatisfiable" not in type(impossible).__name__:
                raise
        yield from drawn


async def _ask(case: Case, own: Planted, caller: Attacker, source: random.Random, found: Verdict) -> None:
    _name_own(case, own, source)
    if WAITING in (case.query or {}):
        case.query[WAITING] = 0
    try:
        prepared = requests.Request(**_of_requests(case)).prepare()
    except (ValueError, UnicodeError, requests.RequestException):
        found.unsendable += 1
        return
    headers = {name: str(value) for name, value in prepared.headers.items() if name.lower() not in OF_THE_CLIENT}
    headers["Accept"] = source.choice(FORMATS)
    body = prepared.body.encode() if isinstance(prepared.body, str) else cast("bytes | None", prepared.body)
    try:
        answer = await caller.client.request(
            case.method, str(prepared.url).removeprefix(BASE), headers=headers, content=body, timeout=60
        )
    except (httpx.InvalidURL, httpx.LocalProtocolError):
        found.unsendable += 1
        return
    found.requests += 1
    found.statuses[answer.status_code] += 1
    found.by_caller[caller.name] += 1
    _judge(case, answer, caller, found)


def _of_requests(case: Case) -> dict[str, Any]:
    given = case.as_transport_kwargs(base_url=BASE)
    return {name: given[name] for name in given if name in {"method", "url", "headers", "params", "data", "json"}}


def _name_own(case: Case, own: Planted, source: random.Random) -> None:
    """Let a path that is not what is wrong name what the tenant has."""
    component = None if case.meta is None else case.meta.components.get(ParameterLocation.PATH)
    if component is not None and component.mode is GenerationMode.NEGATIVE:
        return
    for name, segments in segments_of(case.operation.path).items():
        ids = next((own.ids[segment] for segment in segments if segment in own.ids), None)
        if ids is not None and source.random() < OWN:
            case.path_parameters = (case.path_parameters or {}) | {name: source.choice(ids)}


def _judge(case: Case, answer: httpx.Response, caller: Attacker, found: Verdict) -> None:
    reasons: Sequence[BaseException] = ()
    try:
        case.validate_response(answer, checks=CHECKS)
    except FailureGroup as failures:
        reasons = failures.exceptions
    said = f"{caller.name}: {case.method} {answer.request.url} {answer.request.content[:500]!r}"
    kinds = {type(reason).__name__: str(reason) for reason in reasons}
    if answer.is_client_error:  # It was not taken: another rule met it first.
        kinds.pop("AcceptedNegativeData", None)
    if answer.status_code >= SERVER_ERROR and answer.status_code != AWAY:
        kinds["ServerError"] = ""
    for kind, reason in kinds.items():
        found.breaches.setdefault(
            f"{kind} {case.operation.label}",
            f"{said}: {answer.status_code} {answer.text[:300]}: {reason[:600]}",
        )
