"""People as a browser meets them: invited, logged in, asked again before what is grave, withdrawn at once."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from pyotp.totp import TOTP

from api.totp import matching_step
from core.model.rights import ROLES
from core.runtime.postgres import Pool
from registry.passwords import WAITING_MOST, Passwords
from registry.people import add_member, enter_person
from registry.sessions import list_memberships, open_session

PASSWORD = "trois chats gris dorment"
LogIn = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture(scope="module")
def hashed() -> str:
    return PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)


def browser(app: FastAPI, base_url: str = "https://api", address: str = "192.0.2.1") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 4711))
    return httpx.AsyncClient(transport=transport, base_url=base_url)


async def log_in(client: httpx.AsyncClient, email: str, password: str = PASSWORD, **fields: str) -> httpx.Response:
    answer = await client.post("/v1/sessions", json={"email": email, "password": password} | fields)
    if answer.status_code == 201:
        client.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
    return answer


@pytest.fixture
def person(app: FastAPI, pool: Pool, tenancy, hashed: str):
    """Makes a person with a role in a tenant, without a session."""

    async def made(name: str, role: str = "service_manager", tenant_id: int | None = None) -> int:
        email = f"{name}@ville.example"
        async with pool.acquire() as connection:
            person_id = await enter_person(connection, tenant_id or tenancy.id, email, name.upper(), hashed, role)
            if person_id is None:
                await add_member(connection, email, tenant_id or tenancy.id, role)
                person_id = await connection.fetchval("SELECT id FROM person WHERE email = $1", email)
        assert person_id is not None
        return person_id

    return made


@pytest.fixture
def as_person(app: FastAPI, pool: Pool, person) -> LogIn:
    """A browser with an open session of such a person."""

    @asynccontextmanager
    async def opened(name: str, role: str = "service_manager") -> AsyncGenerator[httpx.AsyncClient]:
        await person(name, role)
        async with browser(app) as client:
            assert (await log_in(client, f"{name}@ville.example")).status_code == 201
            yield client

    return opened


async def test_a_person_is_invited_accepts_by_the_link_and_works_until_they_log_out(
    app: FastAPI, client: httpx.AsyncClient, tenancy, other_tenancy, pool: Pool, person
) -> None:
    invited = await client.post(
        "/v1/invitations", json={"email": "Jeanne@Ville.example", "name": "Jeanne", "role": "service_manager"}
    )
    token = invited.json()["link"].partition("#")[2]
    waiting = (await client.get("/v1/invitations")).text
    async with browser(app) as jeanne:
        weak = await jeanne.post("/v1/invitations/accept", json={"token": token, "password": "court"})
        accepted = await jeanne.post("/v1/invitations/accept", json={"token": token, "password": PASSWORD})
        again = await jeanne.post("/v1/invitations/accept", json={"token": token, "password": PASSWORD})
        csrf = {"X-CSRF-Token": accepted.json()["csrf_token"]}
        read = await jeanne.get("/v1/session")
        forged = await jeanne.post("/v1/teams", json={"name": "Voirie"})
        made = await jeanne.post("/v1/teams", json={"name": "Voirie"}, headers=csrf)
        await person("jeanne", "reader", other_tenancy.id)
        switched = await jeanne.put("/v1/session/tenant", json={"tenant": "autre"}, headers=csrf)
        elsewhere = await jeanne.get("/v1/teams")
        cookie = jeanne.cookies["__Host-territoire"]
        gone = await jeanne.delete("/v1/session", headers=csrf)
        stolen = await jeanne.get("/v1/session", headers={"Cookie": f"__Host-territoire={cookie}"})
    async with browser(app, "http://127.0.0.1:8080") as local:
        chosen = await log_in(local, "jeanne@ville.example", tenant="sdef")

    assert invited.status_code == 201
    assert token not in waiting
    assert (weak.status_code, accepted.status_code, again.status_code) == (422, 201, 409)
    attributes = accepted.headers["set-cookie"].lower()
    assert attributes.startswith("__host-territoire=")
    assert {"secure", "httponly", "path=/", "samesite=lax"} <= set(attributes.split("; "))
    assert (read.json()["tenant"], read.json()["role"]) == ("sdef", "service_manager")
    assert set(read.json()["rights"]) == ROLES["service_manager"].rights
    assert (forged.status_code, made.status_code) == (403, 201)
    assert "X-CSRF-Token" in forged.json()["detail"]
    assert (switched.json()["tenant"], elsewhere.json()["items"]) == ("autre", [])
    assert (gone.status_code, stolen.status_code) == (204, 401)
    assert chosen.status_code == 201
    assert chosen.headers["set-cookie"].startswith("territoire=")
    assert "secure" not in chosen.headers["set-cookie"].lower()
    assert cookie not in str(await pool.fetch("SELECT token_sha256 FROM person_session"))
    lines = await pool.fetch("SELECT actor, action, tenant_id, details FROM audit WHERE actor ~ '^personne'")
    assert [line["action"] for line in lines] == [
        *("accept", "login", "reject", "create", "switch_tenant", "logout", "login")
    ]
    assert lines[3]["details"]["address"] == "192.0.2.1"
    assert lines[5]["tenant_id"] == other_tenancy.id


async def test_an_invitation_or_reset_that_is_over_unknown_or_not_ones_own_opens_nothing(
    app: FastAPI, client: httpx.AsyncClient, tenancy, other_tenancy, pool: Pool, person
) -> None:
    await person("paul", "reader", other_tenancy.id)
    tokens: list[str] = []
    for name in ("anne", "paul"):
        body = {"email": f"{name}@ville.example", "name": name, "role": "reader"}
        tokens.append((await client.post("/v1/invitations", json=body)).json()["link"].partition("#")[2])
    await pool.execute("UPDATE invitation SET expires_at = now() WHERE name = 'anne'")
    async with browser(app) as stranger:
        expired, hijacked, unknown = [
            await stranger.post(
                "/v1/invitations/accept", json={"token": token, "password": "un autre mot de passe"}
            )
            for token in (*tokens, "x" * 43)
        ]
        owned = await stranger.post("/v1/invitations/accept", json={"token": tokens[1], "password": PASSWORD})
        paul = owned.json()["person_id"]
        of_both = await client.post(f"/v1/people/{paul}/password-reset")
        theirs = await client.post("/v1/people/999/password-reset")
        await pool.execute("DELETE FROM membership WHERE tenant_id = $1", other_tenancy.id)
        reset = (await client.post(f"/v1/people/{paul}/password-reset")).json()["link"].partition("#")[2]
        new = {"token": reset, "password": "quatre oiseaux chantent fort"}
        done, twice = [await stranger.post("/v1/password-resets/finish", json=new) for _ in range(2)]
        closed = await stranger.get("/v1/session")
        former = await log_in(stranger, "paul@ville.example")
        now = await log_in(stranger, "paul@ville.example", new["password"])
        forgotten = await stranger.post("/v1/password-resets", json={"email": "personne@ville.example"})

    assert [expired.status_code, hijacked.status_code, unknown.status_code] == [409, 401, 401]
    assert "expiré" in expired.json()["detail"]
    assert owned.status_code == 201
    assert (of_both.status_code, theirs.status_code) == (409, 404)
    assert (done.status_code, twice.status_code, closed.status_code) == (204, 409, 401)
    assert (former.status_code, now.status_code) == (401, 201)
    assert forgotten.status_code == 202
    assert await pool.fetchval("SELECT count(*) FROM person WHERE email = 'anne@ville.example'") == 0


async def test_five_wrong_passwords_lock_the_account_for_that_address_alone(
    app: FastAPI, person, monkeypatch: pytest.MonkeyPatch, pool: Pool
) -> None:
    await person("luc")
    hashed: list[str] = []
    matches = Passwords.matches

    async def counted(self: Passwords, known: str | None, password: str) -> bool:
        hashed.append(password)
        return await matches(self, known, password)

    monkeypatch.setattr(Passwords, "matches", counted)
    async with browser(app) as guesser, browser(app, address="192.0.2.9") as luc:
        wrong = [await log_in(guesser, "luc@ville.example", "faux") for _ in range(5)]
        locked = await log_in(guesser, "LUC@ville.example")
        his = await log_in(luc, "luc@ville.example")
        nobody = await log_in(luc, "nul@ville.example", "faux")
        await pool.execute("UPDATE login_failure SET locked_until = now()")
        later = await log_in(guesser, "luc@ville.example")
        app.state.platform.passwords._waiting = WAITING_MOST
        full = await log_in(luc, "luc@ville.example")

    assert {answer.status_code for answer in wrong} == {401}
    assert wrong[0].json() == nobody.json()
    assert locked.status_code == 429
    assert 0 < int(locked.headers["retry-after"]) <= 900
    assert (his.status_code, later.status_code) == (201, 201)
    assert (full.status_code, full.headers["retry-after"]) == (429, "2")
    assert len(hashed) == 8  # None for the locked one, and none more than can wait.


async def test_a_code_of_the_telephone_opens_once_and_a_recovery_code_stands_for_it_once(
    app: FastAPI, as_person: LogIn, pool: Pool
) -> None:
    async with as_person("eve") as eve:
        secret = (await eve.post("/v1/account/totp")).json()["secret"]
        totp, now = TOTP(secret), time.time()
        skewed = await eve.post("/v1/account/totp/confirm", json={"code": totp.at(int(now) - 300)})
        first = totp.at(int(now))
        confirmed = await eve.post("/v1/account/totp/confirm", json={"code": first})
        codes = confirmed.json()["recovery_codes"]
        without = await log_in(eve, "eve@ville.example")
        replayed = await log_in(eve, "eve@ville.example", code=first)
        late = await log_in(eve, "eve@ville.example", code=totp.at(int(now) - 300))
        following = await log_in(eve, "eve@ville.example", code=totp.at(int(now) + 30))
        lost = await log_in(eve, "eve@ville.example", code=codes[0].upper())
        spent = await log_in(eve, "eve@ville.example", code=codes[0])
        removed = await eve.delete("/v1/account/totp")
        plain = await log_in(eve, "eve@ville.example")

    assert (skewed.status_code, confirmed.status_code, len(codes)) == (422, 200, 10)
    assert (without.status_code, without.json()["errors"][0]["code"]) == (401, "totp_required")
    assert (replayed.status_code, late.status_code) == (401, 401)
    assert "heure de votre téléphone" in late.json()["detail"]
    assert (following.status_code, lost.status_code, spent.status_code) == (201, 201, 401)
    assert (removed.status_code, plain.status_code) == (204, 201)
    whys = await pool.fetch("SELECT details ->> 'why' AS why FROM audit WHERE action = 'reject' ORDER BY id")
    assert [row["why"].partition(" :")[0] for row in whys][:1] == ["code incorrect"]  # One a minute and address.


async def test_a_person_lists_their_own_sessions_and_ends_one_or_all_others_at_once(
    app: FastAPI, as_person: LogIn, person, pool: Pool
) -> None:
    await person("omar")
    async with as_person("lea") as lea, browser(app, address="192.0.2.8") as phone, browser(app) as third:
        phone.headers["User-Agent"] = "Telephone 1"
        await log_in(phone, "lea@ville.example")
        await log_in(third, "lea@ville.example")
        await pool.execute("UPDATE person_session SET last_seen_at = now() - interval '1 hour'")
        listed = (await lea.get("/v1/account/sessions")).json()["items"]
        async with browser(app) as omar:
            await log_in(omar, "omar@ville.example")
            of_another = await omar.delete(f"/v1/account/sessions/{listed[1]['id']}")
        of_phone = next(one for one in listed if one["address"] == "192.0.2.8")
        ended = await lea.delete(f"/v1/account/sessions/{of_phone['id']}")
        gone = await phone.get("/v1/session")
        others = await lea.delete("/v1/account/sessions")
        also_gone = await third.get("/v1/session")
        left = (await lea.get("/v1/account/sessions")).json()["items"]
    line = await pool.fetchval("SELECT details FROM audit WHERE action = 'close' AND entity = 'session'")

    assert [one["is_current"] for one in listed] == [True, False, False]  # Seen with this very request.
    assert (of_phone["user_agent"], of_phone["tenant"]) == ("Telephone 1", "sdef")
    assert (of_another.status_code, ended.status_code, gone.status_code) == (404, 204, 401)
    assert (others.json(), also_gone.status_code, len(left)) == ({"closed": 1}, 401, 1)
    assert line["before"]["address"] == "192.0.2.8"


def test_codes_are_those_of_rfc_6238() -> None:
    secret = (
        "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # "12345678901234567890", appendix B; the last six of eight digits.
    )
    vectors = {59: "287082", 1111111109: "081804", 1234567890: "005924", 20000000000: "353130"}

    assert [matching_step(secret, code, at) for at, code in vectors.items()] == [at // 30 for at in vectors]
    assert matching_step(secret, "287082", 59 + 30) == 1
    assert matching_step(secret, "287082", 59 + 61) is None


async def test_a_grant_asks_the_person_again_after_ten_minutes_and_never_a_key(
    client: httpx.AsyncClient, as_person: LogIn, other_tenancy, pool: Pool
) -> None:
    body = {"tenant": "autre", "everything": True}
    async with as_person("ines") as ines:
        fresh = await ines.post("/v1/grants", json=body)
        await pool.execute("UPDATE person_session SET proved_at = now() - interval '11 minutes'")
        stale = await ines.post("/v1/grants", json=body)
        other = await ines.post("/v1/teams", json={"name": "Voirie"})
        wrong = await ines.post("/v1/session/proof", json={"password": "faux"})
        proved = await ines.post("/v1/session/proof", json={"password": PASSWORD})
        again = await ines.post("/v1/grants", json=body)
    of_key = await client.post("/v1/grants", json=body)

    assert (fresh.status_code, stale.status_code, other.status_code) == (201, 403, 201)
    assert stale.json()["errors"][0]["code"] == "proof_required"
    assert (wrong.status_code, proved.status_code, again.status_code, of_key.status_code) == (401, 200, 201, 201)


async def test_a_role_is_given_and_withdrawn_at_once_and_never_above_ones_own(
    as_person: LogIn, person, client: httpx.AsyncClient, other_client: httpx.AsyncClient, pool: Pool
) -> None:
    operator = await person("chef", "operator")
    async with as_person("ines") as ines, as_person("luc", "reader") as luc:
        members = {row["name"]: row["id"] for row in (await ines.get("/v1/people")).json()["items"]}
        above = await ines.put(f"/v1/people/{members['LUC']}/role", json={"role": "operator"})
        of_above = await ines.delete(f"/v1/people/{operator}")
        before = await luc.post("/v1/teams", json={"name": "Voirie"})
        given = await ines.put(f"/v1/people/{members['LUC']}/role", json={"role": "service_manager"})
        after = await luc.post("/v1/teams", json={"name": "Voirie"})
        extra = {"role": "service_manager", "extra_rights": ["export_keys"]}
        to_oneself = await ines.put(f"/v1/people/{members['INES']}/role", json=extra)
        to_another = await ines.put(f"/v1/people/{members['LUC']}/role", json=extra)
        rights = (await luc.get("/v1/session")).json()["rights"]
        unseen = await other_client.delete(f"/v1/people/{members['LUC']}")
        removed = await ines.delete(f"/v1/people/{members['LUC']}")
        gone = await luc.get("/v1/session")
        disabled = await client.put(f"/v1/people/{members['INES']}/enabled", json={"enabled": False})
        shut = await ines.get("/v1/session")

    assert (above.status_code, of_above.status_code) == (403, 403)
    assert (before.status_code, given.status_code, after.status_code) == (403, 200, 201)
    assert (to_oneself.status_code, to_another.status_code) == (403, 200)
    assert "export_keys" in rights
    assert (unseen.status_code, removed.status_code, gone.status_code) == (404, 204, 401)
    assert (disabled.status_code, shut.status_code) == (204, 401)
    assert await list_memberships(pool, members["LUC"]) == []
    assert await open_session(pool, members["INES"], 1, "", "password") is None
    changed = await pool.fetchval("SELECT details FROM audit WHERE action = 'set_role' ORDER BY id LIMIT 1")
    assert (changed["before"]["role"], changed["after"]["role"]) == ("reader", "service_manager")
