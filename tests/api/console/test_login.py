"""People log in, in one step or two, and come back to what they were doing."""

import re

import httpx
import pyotp
import pytest
from fastapi import FastAPI

from api.cookies import LOOPBACK_COOKIE
from core.runtime.postgres import Pool
from lab.fleet import people
from lab.fleet.provision import Provisioner
from registry.passwords import Passwords
from registry.people import enter_person
from registry.tenants import find_tenant
from tests.api.conftest import client_of
from tests.api.console.conftest import hidden

PASSWORD = "quatre mots pris au hasard"
EMAIL = "jeanne@ville.example"


@pytest.fixture
async def jeanne(pool: Pool, tenancy) -> None:
    hashed = await Passwords().hash_of(PASSWORD)
    async with pool.acquire() as connection:
        await enter_person(connection, tenancy.id, EMAIL, "Jeanne <Le Goff>", hashed, "service_manager")


async def log_in(browser: httpx.AsyncClient, **fields: str) -> httpx.Response:
    return await browser.post("/connexion", data={"email": EMAIL, "password": PASSWORD} | fields)


async def test_a_page_sends_to_the_login_and_the_login_back_to_the_page(browser, jeanne) -> None:
    first = await browser.get("/alertes?gravite=critical")

    assert (first.status_code, first.headers["location"]) == (303, "/connexion?vers=/alertes%3Fgravite%3Dcritical")
    form = await browser.get(first.headers["location"])
    entered = await log_in(browser, vers=hidden(form, "vers"))

    assert (entered.status_code, entered.headers["location"]) == (303, "/alertes?gravite=critical")
    page = await browser.get(entered.headers["location"])
    assert page.status_code == 200
    assert "Jeanne &lt;Le Goff&gt;" in page.text


class OverApplication(Provisioner):
    """A client of the application itself."""

    def __init__(self, app: FastAPI, key: str) -> None:
        self._client = client_of(app, key)


async def test_people_of_the_demonstration_log_in_with_the_first_password_and_see_what_is_theirs(
    app, browser, registry, tenancy, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pool.acquire() as connection:
        hashed = await Passwords().hash_of(PASSWORD)
        await enter_person(connection, tenancy.id, people.OPERATOR_EMAIL, "", hashed, "operator")
        tenant = await find_tenant(connection, "sdef")
    assert tenant is not None
    await registry.asset(kind=people.SHOWN, name="Salle 12")
    await registry.asset(kind="glass_container", name="Borne 12")
    monkeypatch.setattr(people, "Provisioner", lambda _url, key: OverApplication(app, key))
    api = OverApplication(app, tenancy.key)

    for _ in range(2):  # As when a demonstration begins again in its home.
        await people.prepare_people(pool, tenant, "", api)
    await api.close()

    seen: dict[str, tuple[bool, bool]] = {}
    for one in people.VISITORS:
        browser.cookies.clear()
        assert (await log_in(browser, email=one.email)).status_code == 303, one
        page = await browser.get("/equipements")
        seen[one.email.partition("@")[2]] = ("Salle 12" in page.text, "Borne 12" in page.text)
        assert one.name in page.text
    assert seen == {"finistere.example": (True, True), "landerneau.example": (True, False)}


async def test_a_login_leads_to_no_other_site(browser, jeanne) -> None:
    for elsewhere in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"):
        entered = await log_in(browser, vers=elsewhere)

        assert entered.headers["location"] == "/supervision"


async def test_a_wrong_password_is_said_and_the_address_is_kept(browser, jeanne) -> None:
    page = await log_in(browser, password="autre chose")

    assert page.status_code == 401
    assert "adresse ou mot de passe incorrect" in page.text
    assert f'value="{EMAIL}"' in page.text
    assert "autre chose" not in page.text


async def test_what_was_typed_before_the_session_ended_is_sent_after_the_login(browser, jeanne) -> None:
    lost = await browser.post("/alertes/7", data={"csrf": "x", "act": "comment", "text": "câble <coupé>"})

    assert lost.status_code == 401
    assert "Ce que vous aviez saisi est gardé" in lost.text
    carried = {name: hidden(lost, name) for name in ("vers", "saisi.act", "saisi.text")}
    resumed = await log_in(browser, **{**carried, "saisi.text": "câble <coupé>"})

    assert "câble &lt;coupé&gt;" in resumed.text
    sent = await browser.post("/alertes/7", data={name: hidden(resumed, name) for name in ("csrf", "act", "text")})
    assert sent.status_code == 404  # It was taken for ours; there is no such alert.


async def test_a_form_that_is_not_ours_changes_nothing(browser, jeanne, pool: Pool) -> None:
    await log_in(browser)

    answer = await browser.post("/deconnexion", data={"csrf": "0123456789abcdef.0000"})

    assert answer.status_code == 403
    assert (await browser.get("/supervision")).status_code == 200


async def test_somebody_logs_out(browser, jeanne) -> None:
    await log_in(browser)
    page = await browser.get("/supervision")

    await browser.post("/deconnexion", data={"csrf": hidden(page, "csrf")})

    assert LOOPBACK_COOKIE not in browser.cookies
    assert (await browser.get("/supervision")).status_code == 303


async def test_a_second_factor_is_asked_for_after_the_password(browser, jeanne) -> None:
    await log_in(browser)
    account = await browser.get("/compte")
    prepared = await browser.post(
        "/compte/second-facteur", data={"csrf": hidden(account, "csrf"), "act": "prepare", "current": PASSWORD}
    )
    found = re.search(r'class="secret">([A-Z2-7]+)<', prepared.text)
    assert found is not None, prepared.text
    totp = pyotp.TOTP(found[1])
    confirmed = await browser.post(
        "/compte/second-facteur", data={"csrf": hidden(prepared, "csrf"), "act": "confirm", "code": totp.now()}
    )
    assert "codes de secours" in confirmed.text
    recovery = re.findall(r"<li><code>([^<]+)</code>", confirmed.text)[0]
    await browser.post("/deconnexion", data={"csrf": hidden(account, "csrf")})

    second = await log_in(browser)
    wrong = await browser.post(
        "/connexion", data={"email": EMAIL, "ticket": hidden(second, "ticket"), "code": "000000"}
    )
    entered = await browser.post(
        "/connexion", data={"email": EMAIL, "ticket": hidden(wrong, "ticket"), "code": recovery}
    )

    assert wrong.status_code == 401
    assert "code incorrect" in wrong.text
    assert entered.status_code == 303
    stolen = await browser.post(
        "/connexion", data={"email": "autre@ville.example", "ticket": hidden(second, "ticket"), "code": recovery}
    )
    assert stolen.status_code == 401


async def test_an_address_that_does_not_exist_is_a_page_for_people_and_a_problem_for_programs(browser) -> None:
    page = await browser.get("/nulle-part", headers={"Accept": "text/html"})
    problem = await browser.get("/v1/nulle-part", headers={"Accept": "text/html"})

    assert (page.status_code, problem.status_code) == (404, 404)
    assert "Cette page n’existe pas" in page.text
    assert problem.headers["content-type"] == "application/problem+json"


async def test_every_page_says_what_it_may_load(browser, jeanne) -> None:
    await log_in(browser)
    for address in ("/connexion", "/supervision", "/alertes", "/compte", "/nulle-part"):
        page = await browser.get(address, headers={"Accept": "text/html"})
        policy = page.headers["content-security-policy"]

        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src 'self'" in policy
        assert not re.search(r"<script>|<script [^>]*>[^<]| style=| on[a-z]+=\"|<style", page.text), address
