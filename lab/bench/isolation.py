"""Random requests of one tenant, by every role, that name what is another's: nothing may come of them.

Three things are watched. No answer holds a text of the other tenant's. A request that names what is the other's is
answered as the same request that names what nobody has. And no row of the other tenant's has changed afterwards.
Besides, no answer is a 5xx, and each has a status that the OpenAPI document promises for its operation.
"""

import random
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi.routing import APIRoute

from alerting.work_order_dispatch import dispatch_work_orders
from api.app import ROUTERS
from api.auth import RequireRight
from core.model.ownership import REGISTERED_ELSEWHERE
from core.runtime.postgres import Pool, open_pool
from lab.bench.isolation_requests import Call, Requests
from lab.bench.isolation_world import Attacker, NewClient, Planted, open_attackers, plant, share_everything

# Of what is wrong in JSON.
POSITION = re.compile(r"\bbody\.\d+\b")
CONTESTING = ("post", "/v1/eui-claims")
ROWS_OF_A_TENANT = """
SELECT c.table_name FROM information_schema.columns c
JOIN information_schema.tables t USING (table_schema, table_name)
WHERE c.table_schema = 'public' AND c.column_name = 'tenant_id' AND t.table_type = 'BASE TABLE'
"""
# Lines of the audit come when somebody contests an EUI, and the use of a key is no change.
TO_SEND = "SELECT payload FROM jobs.pgqueuer ORDER BY id"
PDF_STREAM = re.compile(rb"stream\r?\n(.*?)\r?\nendstream", re.DOTALL)
WRITTEN_BESIDE = frozenset({"audit_line", "audit_detail", "rejected_login"})


@dataclass(slots=True)
class Findings:
    """What came of the requests; `leaks` and `faults` are to be empty."""

    requests: int = 0
    naming: int = 0
    """Those that named something of the other tenant's."""
    statuses: Counter[int] = field(default_factory=Counter[int])
    by_caller: Counter[str] = field(default_factory=Counter[str])
    operations: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """How often each was asked, zero included."""
    formats: Counter[str] = field(default_factory=Counter[str])
    """The types of what was answered with success."""
    seen: int = 0
    """Answers with something of what the callers may see: a list that is always empty would hide everything."""
    seen_shared: int = 0
    """Those with what is shared with them."""
    messages: int = 0
    """Webhooks that the requests have caused."""
    leaks: list[str] = field(default_factory=list[str])
    faults: list[str] = field(default_factory=list[str])
    """Statuses that the document does not have, and of 5xx it has 503 alone."""

    @property
    def is_reached(self) -> bool:
        """Whether nothing leaked and nothing failed."""
        return not self.leaks and not self.faults


async def measure(new_client: NewClient, database_url: str, count: int, seed: int) -> tuple[Findings, list[str]]:
    """Plant tenants and attack two from the third; what was found, and which tables of theirs have changed."""
    source = random.Random(seed)
    async with open_pool(database_url, "bench", size=1) as pool, new_client({}) as client:
        document = (await client.get("/openapi.json")).json()
        field = await set_up(new_client, pool)
        before = await rows_of_all(pool, field.victims)
        found = await attack(new_client, pool, field, document, count, source)
        after = await rows_of_all(pool, field.victims)
    return found, sorted(table for table in before if before[table] != after[table])


@dataclass(frozen=True, slots=True)
class Field:
    """Who is attacked, and from where: a stranger, and who shares everything but has things of class 2."""

    victims: tuple[Planted, Planted]
    own: Planted
    shown: str
    """The name of the one asset of the second that may be seen."""


async def set_up(new_client: NewClient, pool: Pool) -> Field:
    """Three tenants that have one of everything."""
    stranger, own = await plant(new_client, pool, "cible"), await plant(new_client, pool, "attaque")
    household = await plant(new_client, pool, "foyer", personal=True)
    del own.ids["webhook-endpoints"]  # It goes on listening.
    shown = await share_everything(new_client, pool, household, own)
    await dispatch_work_orders(pool)  # Of what they have made themselves, before anybody asks.
    return Field((stranger, household), own, shown)


async def attack(
    new_client: NewClient, pool: Pool, field: Field, document: Mapping[str, Any], count: int, source: random.Random
) -> Findings:
    """Make so many requests, each by one of the callers, and compare; what was found."""
    requests = Requests(document, field.victims, field.own, source)
    found = Findings(operations=Counter({one[:2]: 0 for one in requests.operations}))
    async with open_attackers(new_client, pool, field.own.tenant_id) as attackers:
        await _ask(requests, attackers, field, document, count, found)
    await _check_webhooks(pool, field, found)
    return found


async def _ask(
    requests: Requests,
    attackers: Sequence[Attacker],
    field: Field,
    document: Mapping[str, Any],
    count: int,
    found: Findings,
) -> None:
    rights, documented, source = rights_of_routes(), documented_statuses(document), requests.source
    # What only the other tenants have said; their EUIs are in the callers' own requests and audit.
    marks = marks_of(field)
    for _ in range(count):
        caller = source.choice(attackers)
        call = requests.draw(operator=caller.is_operator, rights=rights)
        real = call.naming(requests.other)
        answer = await _send(caller, real)
        found.requests += 1
        found.naming += call.named
        found.statuses[answer.status_code] += 1
        found.by_caller[caller.name] += 1
        found.operations[call.method, call.template] += 1
        found.formats[answer.headers.get("content-type", "").partition(";")[0]] += answer.is_success
        text = text_of(answer).lower()
        found.seen += answer.is_success and (field.own.mark in text or field.shown in text)
        found.seen_shared += field.shown in text
        said = f"{caller.name}: {real.method.upper()} {real.path} {dict(real.query)} {real.body}"
        _check_status(found, call, answer, documented, said)
        sent = f"{real.path} {real.query} {real.body}".lower()
        shown = [mark for mark in marks if mark in text and mark not in sent]
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


async def _check_webhooks(pool: Pool, field: Field, found: Findings) -> None:
    """What the attackers' own work orders and alerts say to their own addresses names nothing of the victims'."""
    await dispatch_work_orders(pool)
    texts = [bytes(row["payload"] or b"").decode("utf-8", "replace") for row in await pool.fetch(TO_SEND)]
    own = [text for text in texts if field.own.slug in text]
    found.messages += len(own)
    found.leaks += [f"webhook: {text[:500]}" for text in own for mark in marks_of(field) if mark in text.lower()]


def marks_of(field: Field) -> list[str]:
    """The texts that are nobody's but a victim's."""
    return [text for victim in field.victims for text in (victim.mark, str(victim.measured))]


def text_of(answer: httpx.Response) -> str:
    """What an answer says; of a PDF what its streams say."""
    if not answer.content.startswith(b"%PDF"):
        return answer.text
    found: list[bytes] = []
    for stream in PDF_STREAM.findall(answer.content):
        with suppress(zlib.error):
            found.append(zlib.decompress(stream))
    return b"\n".join(found).decode("latin-1")


async def _send(caller: Attacker, call: Call) -> httpx.Response:
    # Numbers that were placeholders stand in the body as texts, which are taken for numbers.
    return await caller.client.request(
        call.method,
        call.path,
        params=list(call.query),
        content=None if call.body is None else call.body.encode("utf-8", "surrogatepass"),
        headers={"Content-Type": "application/json", "Accept": call.accept},
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
        f"{table} of {tenant_id}": await pool.fetchval(
            f"SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {table} t "
            "WHERE tenant_id = $1",
            tenant_id,
        )
        for table in tables
    }


async def rows_of_all(pool: Pool, victims: Sequence[Planted]) -> dict[str, str]:
    """`rows_of` each of them."""
    rows: dict[str, str] = {}
    for victim in victims:
        rows |= await rows_of(pool, victim.tenant_id)
    return rows


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
