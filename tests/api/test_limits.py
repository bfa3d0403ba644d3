"""Limits of requests for each person and address, and of wrong credentials for each address."""

import httpx
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from api.app import create_app
from api.limits import Limits, Rates, host_of
from core.runtime.bus import Bus
from core.runtime.http.errors import Problem
from core.runtime.postgres import Pool
from registry.keys import KeyWrap
from tests.api.conftest import KEK, client_of, person_client

RATES = Rates(of_person=3, of_address=60, wrong=4)


@pytest.fixture
async def limited(api_pool: Pool, bus: Bus) -> FastAPI:
    app = create_app(api_pool, bus, KeyWrap("kek-1", KEK), 4)
    object.__setattr__(app.state.platform, "limits", Limits(RATES, lambda: 0.0))  # Nobody waits long enough.
    return app


def statuses(answers: list[httpx.Response]) -> list[int]:
    return [answer.status_code for answer in answers]


async def test_wrong_keys_lock_their_address_before_they_are_looked_up_and_a_right_one_goes_on(
    limited: FastAPI, tenancy, pool: Pool
) -> None:
    wrong = f"terr_{'0' * 12}_{'x' * 43}"
    async with client_of(limited, tenancy.key) as right, client_of(limited, wrong) as guessing:
        before = await right.get("/v1/teams")
        with capture_logs() as logs:
            answers = [await guessing.get("/v1/teams") for _ in range(6)]
        locked = answers[-1]
        after = await right.get("/v1/teams")
    async with client_of(limited, "terr_nonsense") as another, client_of(limited, "a.b.c") as token:
        too = await another.get("/v1/teams")
        unrouted = await token.get("/v1/nowhere")

    assert (before.status_code, after.status_code) == (200, 200)
    assert statuses(answers) == [401, 401, 401, 401, 429, 429]
    assert locked.json()["detail"] == "trop de clés ou de sessions fausses depuis cette adresse"
    assert locked.headers["retry-after"] == "15"
    assert too.status_code == 429
    assert unrouted.status_code == 429  # Before a route is looked for.
    lines = [one for one in logs if one["event"] == "request_rejected"]
    assert len({one["reason"] for one in lines}) == 1
    assert len(lines) <= 2  # One a minute, and a minute may end meanwhile.
    assert await pool.fetchval("SELECT count(*) FROM audit WHERE action = 'rejected'") <= 2


async def test_a_person_and_an_address_that_ask_too_often_are_told_when_to_come_again(
    limited: FastAPI, tenancy, pool: Pool
) -> None:
    async with await person_client(limited, pool, tenancy.id, "reader") as person:
        answers = [await person.get("/v1/teams") for _ in range(4)]
    async with client_of(limited, tenancy.key) as client:
        many = [await client.get("/v1/teams") for _ in range(60)]

    assert statuses(answers) == [200, 200, 200, 429]
    assert answers[-1].json()["detail"] == "vous faites plus de 3 requêtes par minute"
    assert many[0].status_code == 200
    refused = [answer for answer in many if answer.status_code == 429]
    assert refused
    assert {answer.json()["detail"] for answer in refused} == {"cette adresse fait plus de 60 requêtes par minute"}
    assert all(int(answer.headers["retry-after"]) == 1 for answer in refused)
    assert refused[0].headers["content-type"] == "application/problem+json"


def test_a_locked_address_is_let_in_again_when_it_has_waited_and_others_always() -> None:
    now = 0.0
    limits = Limits(Rates(wrong=2), lambda: now)
    for _ in range(3):
        limits.count_wrong("2001:db8::1")

    with pytest.raises(Problem) as locked:
        limits.require_unlocked("2001:db8::ffff")  # The same host may take any of these.
    limits.require_unlocked("2001:db8:0:1::1")
    limits.require_unlocked("192.0.2.1")
    now = float((locked.value.headers or {})["Retry-After"])
    limits.require_unlocked("2001:db8::1")

    assert host_of("?") == "?"


def test_while_many_addresses_guess_each_has_two_tries_of_keys_and_a_person_as_many_as_always() -> None:
    """Of twenty an address, two hundred a minute of all are a siege; two come back in a minute."""
    now = [0.0]
    limits = Limits(Rates(wrong=20), lambda: now[0])
    for number in range(199):
        limits.count_wrong(f"198.51.{number}.1")
    for _ in range(2):
        limits.require_key_unlocked("192.0.2.1")
        limits.count_wrong("192.0.2.1")
    limits.require_key_unlocked("203.0.113.1")

    with pytest.raises(Problem) as refused:
        limits.require_key_unlocked("192.0.2.1")
    limits.require_unlocked("192.0.2.1")
    now[0] = 60.0
    for number in range(200):
        limits.count_wrong(f"198.51.{number}.1")

    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "60"})
    limits.require_key_unlocked("192.0.2.1")


def test_without_a_siege_an_address_has_twenty_tries() -> None:
    limits = Limits(Rates(wrong=20), lambda: 0.0)

    for _ in range(20):
        limits.require_key_unlocked("192.0.2.1")
        limits.count_wrong("192.0.2.1")
    with pytest.raises(Problem):
        limits.require_key_unlocked("192.0.2.1")
