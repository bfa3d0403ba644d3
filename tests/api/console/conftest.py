"""Browsers of people, over the application itself."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable

import httpx
import pytest
from fastapi import FastAPI

from api.cookies import LOOPBACK_COOKIE
from core.runtime.postgres import Pool
from registry.people import enter_person
from registry.sessions import open_session

Enter = Callable[[int, str], Awaitable[httpx.AsyncClient]]


def hidden(page: httpx.Response, name: str) -> str:
    """What a hidden field of a page holds."""
    found = re.search(rf'name="{re.escape(name)}" value="([^"]*)"', page.text)
    assert found is not None, page.text
    return found[1]


@pytest.fixture
async def browser(app: FastAPI) -> AsyncGenerator[httpx.AsyncClient]:
    """Of somebody who has not logged in."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        client.headers["Accept"] = "text/html"
        yield client


@pytest.fixture
async def enter(app: FastAPI, pool: Pool) -> AsyncGenerator[Enter]:
    """Browsers of people of a tenant, by role, who have just given the password."""
    opened: list[httpx.AsyncClient] = []

    async def browser_of(tenant_id: int, role: str) -> httpx.AsyncClient:
        email = f"p{len(opened)}@ville.example"
        async with pool.acquire() as connection:
            person_id = await enter_person(connection, tenant_id, email, "Jeanne Le Goff", "", role)
        assert person_id is not None
        token = await open_session(app.state.platform.pool, person_id, tenant_id, "192.0.2.1", "password")
        assert token is not None
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://localhost"
        )
        client.headers["Accept"] = "text/html"
        client.cookies.set(LOOPBACK_COOKIE, token, domain="localhost.local")
        opened.append(client)
        return client

    yield browser_of
    for client in opened:
        await client.aclose()
