"""The pages for partners: each call that they show is made, in their order, and answers what they say."""

import json
import re
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from core.runtime.postgres import Pool
from tests.api.conftest import client_of, make_tenancy

DOCS = Path(__file__).parents[2] / "docs"
OF_A_MANAGER = ("read", "manage", "lighting")
# who METHOD /path 'body'   # status ; NAME = field ; field : value ; how many items
CALL = re.compile(
    r"^(\w+) (GET|POST|PUT|PATCH|DELETE) (/v1/\S+)(?: '((?:[^']|'\$[A-Z]+')*)')? +# (\d{3})((?: ; [^;]+)*)$"
)


def shown_calls(page: str) -> list[tuple[str, str, str, str, int, list[str]]]:
    found: list[tuple[str, str, str, str, int, list[str]]] = []
    for block in re.findall(r"```sh\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)[1:]:
        for line in block.strip().splitlines():
            matched = CALL.match(line)
            assert matched is not None, f"no call: {line}"
            who, method, path, body, status, expected = matched.groups()
            found.append(
                (who, method, path, body or "", int(status), [one for one in expected.split(" ; ") if one])
            )
    return found


async def play(page: str, clients: dict[str, httpx.AsyncClient], known: dict[str, object]) -> int:
    """Every call of a page; what they answered is known to those that follow."""

    def filled(text: str) -> str:
        return re.sub(r"'?\$([A-Z]+)'?", lambda found: str(known[found[1]]), text)

    calls = shown_calls(page)
    for who, method, path, body, status, expected in calls:
        headers = {"Content-Type": "application/json"} if body else {}
        answer = await clients[who].request(method, filled(path), content=filled(body) or None, headers=headers)
        call = f"{who} {method} {path} {body}"
        assert answer.status_code == status, (call, answer.text)
        for one in expected:
            if " = " in one:
                name, field = one.split(" = ")
                known[name] = answer.json()[field]
            elif " : " in one:
                field, value = one.split(" : ")
                found = answer.json()[field]
                assert (found if isinstance(found, str) else json.dumps(found)) == filled(value), call
            else:
                assert len(answer.json()["items"]) == int(one), call
    return len(calls)


@pytest.mark.parametrize("page", ["deux-collectivites.md", "syndicat-et-membres.md"])
async def test_a_page_for_partners_does_what_it_says(page: str, app: FastAPI, pool: Pool) -> None:
    slugs = {"landerneau", "conseil"} if page.startswith("deux") else {"commune", "syndicat"}
    tenancies = {slug: await make_tenancy(pool, slug, OF_A_MANAGER) for slug in sorted(slugs)}
    tenancies["exploitant"] = await make_tenancy(pool, "exploitant")
    known: dict[str, object] = {slug.upper(): one.id for slug, one in tenancies.items()}
    clients = {slug: client_of(app, one.key) for slug, one in tenancies.items()}
    try:
        assert await play(page, clients, known) > 12
    finally:
        for client in clients.values():
            await client.aclose()
