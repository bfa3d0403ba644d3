import asyncio
import json
import secrets

import httpx
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from api.app import LISTS, create_app
from core.runtime.bus import Bus, connect_bus
from core.runtime.postgres import Pool, connect, open_pool
from registry.keys import KeyWrap
from tests.api.test_every_route import QUERIES, example_of

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1, 2]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"kind": "a", "name": "b", "latitude": NaN}',
        b'{"kind": "a", "name": "b", "latitude": 1e999}',
        b'{"kind": "a", "name": "b", "privacy_class": ' + b"9" * 5000 + b"}",
        b'{"kind": "a", "name": "b", "attributes": {"x": "\\ud800"}}',
        b'{"kind": "a", "name": {"$ne": null}}',
    ],
)
async def test_garbage_gets_a_problem_and_no_stack_trace(client, body: bytes) -> None:
    answer = await client.post("/v1/assets", content=body, headers=JSON)

    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title"] in {"Requête illisible", "Données invalides"}
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"name": "Bacs à 75", "kind": "silence", "severity": "info", "message": "x"}, "minuscules sans accent"),
        ({"name": "bacs", "kind": "silence", "severity": "info", "message": "x\ny"}, "une seule ligne"),
    ],
)
async def test_an_error_describes_the_expected_form_in_words(client, body: dict[str, str], why: str) -> None:
    answer = await client.post("/v1/alert-rules", json=body)

    assert answer.status_code == 422
    assert why in answer.json()["detail"]


async def test_a_body_without_json_content_type_is_answered_with_the_missing_header(client) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await client.post("/v1/assets", content=b'{"kind": "a", "name": "b"}', headers=form)

    assert answer.status_code == 422
    assert "Content-Type: application/json" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nowhere", 404), ("DELETE", "/v1/assets", 405), ("GET", "/metrics", 404)],
)
async def test_an_address_or_method_that_is_not_ours(client, method, path, status) -> None:
    answer = await client.request(method, path)

    assert answer.status_code == status
    assert answer.json()["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_body_beyond_a_megabyte_is_rejected_whether_or_not_it_says_so(client) -> None:
    async def in_pieces():
        for _ in range(40):
            yield b" " * 32_768

    declared = await client.post("/v1/assets", content=b" " * 1_100_000, headers=JSON)
    undeclared = await client.post("/v1/assets", content=in_pieces(), headers=JSON)

    for answer in (declared, undeclared):
        assert answer.status_code == 413
        assert answer.json()["title"] == "Requête trop volumineuse"


async def test_a_body_that_never_ends_is_not_waited_for(client, monkeypatch) -> None:
    monkeypatch.setattr("core.runtime.http.middleware.BODY_WITHIN_S", 0.05)
    never = asyncio.Event()

    async def stalled():
        yield b"{"
        await never.wait()

    answer = await client.post("/v1/assets", content=stalled(), headers=JSON)

    assert answer.status_code == 408
    assert answer.json()["title"] == "Requête trop lente"


async def test_a_key_reaches_neither_an_answer_nor_a_log(client, registry) -> None:
    app_key = secrets.token_hex(16)
    profile = await registry.profile()
    body = {
        "dev_eui": secrets.token_hex(8),
        "join_eui": "00" * 8,
        "name": "x",
        "device_profile_id": profile["id"],
        "app_key": app_key,
    }

    with capture_logs() as logs:
        answers = [
            await client.post("/v1/devices", json=body | spoil)
            for spoil in (
                {},
                {},
                {"dev_eui": "x"},
                {"app_key": app_key + "0"},
                {"app_key": [app_key]},
                {"nwk_s_key": app_key},
                {"device_profile_id": 999_999, "dev_eui": secrets.token_hex(8)},
            )
        ]

    assert [answer.status_code for answer in answers] == [201, 409, 422, 422, 422, 422, 404]
    assert all(app_key not in answer.text for answer in answers)
    assert app_key not in json.dumps(logs, default=str)


FORMATS = ("application/json", "text/csv", "application/geo+json")
# A key is refused there, whatever the database does.
OF_PEOPLE = {"/v1/invitations", "/v1/people", "/v1/account/sessions"}
# The same for everybody, in the code.
KNOWN = {"/v1/quantities", "/v1/asset-kinds", "/v1/import-kinds"}
# The map, and what is printed: they are no lists, and go away alike.
DRAWN = ("/v1/assets/map", "/v1/kit-commissionings/{id}/record.pdf", "/v1/photos/{id}", "/v1/commune-outlines")


async def test_a_database_that_is_away_is_a_503_that_says_when_to_come_back(
    cluster, database, bus: Bus, tenancy
) -> None:
    """The database is dropped under an open pool: requests get an error with its reason, and liveness stays up."""
    async with open_pool(database.api_url, "territoire-tests-away", size=2) as doomed:
        app = create_app(doomed, bus, KeyWrap("kek-1", bytes(16)), 4)
        headers = {"Authorization": f"Bearer {tenancy.key}"}
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
            before = await client.get("/v1/assets")
            await _cut_off(cluster, database.name)
            away = await client.get("/v1/assets")
            shown = [
                await client.get(
                    example_of(path), params=QUERIES.get(path, {}), headers={"Accept": FORMATS[n % 3]}
                )
                for n, path in enumerate(sorted({*(route.path for route in LISTS), *DRAWN} - OF_PEOPLE - KNOWN))
            ]
            written = await client.post("/v1/assets", json={"kind": "bin", "name": "b"})
            problems = await app.state.readiness.problems()
            await _let_in(cluster, database.name)
            again = await client.get("/v1/assets")

    assert before.status_code == 200
    for answer in (away, written, *shown):
        assert answer.status_code == 503, answer.request.url
        assert answer.headers["retry-after"] == "5"
        assert answer.json()["title"] == "Service momentanément indisponible"
    assert list(problems) == ["database"]
    assert again.status_code == 200


async def _cut_off(cluster, name: str) -> None:
    admin = await connect(cluster.server.url("postgres"))
    await admin.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT 0')
    await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
    await admin.close()


async def _let_in(cluster, name: str) -> None:
    admin = await connect(cluster.server.url("postgres"))
    await admin.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT -1')
    await admin.close()


async def test_a_mistake_of_ours_is_a_500_without_its_evidence(
    app: FastAPI, client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> None:
        raise RuntimeError("secret of the house")

    # On a list of its own: all applications of a process share their routes.
    monkeypatch.setattr(app.router, "routes", list(app.router.routes))
    app.add_api_route("/v1/broken", broken)
    with capture_logs() as logs:
        answer = await client.get("/v1/broken")

    assert answer.status_code == 500
    assert answer.json()["title"] == "Erreur interne"
    assert "secret of the house" not in answer.text
    assert [log["event"] for log in logs] == ["request_failed"]


async def test_a_bus_that_is_away_does_not_undo_what_is_committed(api_pool: Pool, nats_url, tenancy) -> None:
    async with connect_bus(nats_url, "territoire-tests") as bus:
        pass  # Closed: a publish raises.
    app = create_app(api_pool, bus, KeyWrap("kek-1", bytes(16)), 4)
    headers = {"Authorization": f"Bearer {tenancy.key}"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://api", headers=headers
    ) as client:
        created = await client.post("/v1/assets", json={"kind": "bin", "name": "b"})
        problems = await app.state.readiness.problems()

    assert created.status_code == 201
    assert problems == {"bus": "la connexion est coupée"}
