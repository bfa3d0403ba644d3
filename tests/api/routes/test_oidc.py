"""Logging in by a provider of identities, which is a real one in a thread."""

import time
from collections.abc import AsyncGenerator, Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import oidc_provider_mock
import pytest
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey

from api.app import create_app
from api.dependencies import Access
from api.oidc import REFRESH_EVERY_S, Identity, InvalidToken, Provider, ProviderSettings
from core.runtime.bus import Bus
from core.runtime.postgres import Pool
from registry.identities import link_identity
from registry.keys import KeyWrap
from registry.people import enter_person, invite
from tests.api.conftest import KEK, client_of

ISSUER = "https://idp.example"


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with oidc_provider_mock.run_server_in_thread() as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture
async def browser(api_pool: Pool, bus: Bus, issuer: str) -> AsyncGenerator[httpx.AsyncClient]:
    provider = Provider(ProviderSettings(issuer, "territoire", "secret", "territoire"))
    access = Access("http://127.0.0.1", provider=provider)
    app: FastAPI = create_app(api_pool, bus, KeyWrap("kek-1", KEK), 4, access=access)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


async def log_in(browser: httpx.AsyncClient, subject: str, **query: str) -> httpx.Response:
    """To the provider, through its form, and back."""
    begun = await browser.get("/v1/oidc/login", params=query)
    there = begun.headers["location"]
    assert parse_qs(urlsplit(there).query)["code_challenge_method"] == ["S256"]
    async with httpx.AsyncClient(trust_env=False) as outside:
        allowed = await outside.post(there, data={"sub": subject})
    return await browser.get(allowed.headers["location"])


async def test_an_identity_opens_the_account_that_accepted_the_invitation_and_no_other(
    browser: httpx.AsyncClient, pool: Pool, tenancy, issuer: str
) -> None:
    async with pool.acquire() as connection:
        _, token = await invite(connection, tenancy.id, "zoe@ville.example", "Zoé", "field_agent", "clé")
        _, second = await invite(connection, tenancy.id, "zoe@ville.example", "Zoé", "field_agent", "clé")
    stranger = await log_in(browser, "zoe@ville.example")
    accepted = await log_in(browser, "sub-1", invitation=token)
    session = (await browser.get("/v1/session")).json()
    again = await log_in(browser, "sub-1", tenant="sdef")
    taken_over = await log_in(browser, "sub-2", invitation=second)
    linked = await log_in(browser, "sub-3", link="true")
    twice = await log_in(browser, "sub-3", link="true")
    browser.cookies.clear()
    by_second = await log_in(browser, "sub-3")
    replayed = await browser.get("/v1/oidc/callback", params={"state": "x", "code": "y"})

    assert stranger.status_code == 403
    assert (accepted.status_code, accepted.headers["location"]) == (303, "/")
    assert (session["name"], session["role"]) == ("Zoé", "field_agent")
    assert (again.status_code, taken_over.status_code) == (303, 409)
    assert (linked.status_code, twice.status_code, by_second.status_code) == (303, 409, 303)
    assert replayed.status_code == 401
    assert await pool.fetchval("SELECT count(*) FROM person") == 1
    known = await pool.fetch("SELECT issuer, subject FROM person_identity ORDER BY subject")
    assert [tuple(row) for row in known] == [(issuer, "sub-1"), (issuer, "sub-3")]
    assert await pool.fetchval("SELECT count(*) FROM audit WHERE action = 'reject' AND entity_id = 'oidc'") >= 1


async def test_a_bearer_token_acts_for_its_person_and_never_stands_for_a_proof(
    api_pool: Pool, bus: Bus, pool: Pool, tenancy, other_tenancy
) -> None:
    issuer = Issuer()
    access = Access(provider=issuer.provider())
    app = create_app(api_pool, bus, KeyWrap("kek-1", KEK), 4, access=access)
    async with pool.acquire() as connection:
        person_id = await enter_person(connection, tenancy.id, "u@ville.example", "U", "", "service_manager")
    assert person_id is not None
    unlinked = issuer.token()
    async with client_of(app, unlinked) as client:
        nobody = await client.get("/v1/teams")
        await link_identity(api_pool, person_id, ISSUER, "u")
        made = await client.post("/v1/teams", json={"name": "Voirie"})
        elsewhere = await client.get("/v1/teams", headers={"Territoire-Tenant": "autre"})
        grant = await client.post("/v1/grants", json={"tenant": "autre", "everything": True})
    async with client_of(app, issuer.token(iss="https://autre.example")) as client:
        foreign = await client.get("/v1/teams")

    assert (nobody.status_code, made.status_code, elsewhere.status_code) == (401, 201, 403)
    assert (grant.status_code, foreign.status_code) == (403, 401)
    assert "émetteur" in foreign.json()["detail"]
    assert await pool.fetchval("SELECT count(*) FROM audit WHERE action = 'create'") == 1


class Issuer:
    """A provider whose keys change, asked over a transport; counts how often its keys are read."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "k1"})
        self.asked = 0
        self.now = 1000.0

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/jwks"):
            self.asked += 1
            return httpx.Response(200, json=KeySet([self.key]).as_dict(private=False))
        return httpx.Response(200, json={"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"})

    def token(self, **claims: object) -> str:
        whole = {"iss": ISSUER, "sub": "u", "aud": "territoire", "exp": int(time.time()) + 60} | claims
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, whole, self.key)

    def provider(self) -> Provider:
        settings = ProviderSettings(ISSUER, "territoire", None, "territoire")
        return Provider(settings, lambda: self.now, httpx.MockTransport(self.answer))


async def test_a_bearer_token_is_ours_by_issuer_audience_time_and_a_fixed_algorithm() -> None:
    issuer = Issuer()
    provider = issuer.provider()
    good = issuer.token()
    public = issuer.key.as_pem(private=False)
    confused = jwt.encode(
        {"alg": "HS256", "kid": "k1"},
        {"iss": ISSUER, "sub": "u", "aud": "territoire"},
        OctKey.import_key(public[:60]),
    )
    wrong = [
        issuer.token(iss="https://autre.example"),
        issuer.token(aud="un autre"),
        issuer.token(exp=int(time.time()) - 3600),
        good[:-4] + "AAAA",
        confused,
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1In0.",
        "a.b.c",
    ]

    assert await provider.identity_of(good) == Identity(ISSUER, "u")
    for token in wrong:
        with pytest.raises(InvalidToken):
            await provider.identity_of(token)
    assert issuer.asked == 1


async def test_an_unknown_key_is_looked_for_once_and_not_again_for_a_while() -> None:
    issuer = Issuer()
    provider = issuer.provider()
    await provider.identity_of(issuer.token())
    issuer.key = RSAKey.generate_key(2048, {"kid": "k2"})
    issuer.now += REFRESH_EVERY_S
    await provider.identity_of(issuer.token())
    issuer.key = RSAKey.generate_key(2048, {"kid": "k3"})
    for _ in range(3):
        with pytest.raises(InvalidToken):
            await provider.identity_of(issuer.token())

    assert issuer.asked == 2
