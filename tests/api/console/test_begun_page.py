"""A page that begins before it is read."""

import asyncio
import re
from typing import Any

from fastapi import FastAPI
from starlette.types import Message

from api.console.supervision import views
from api.cookies import LOOPBACK_COOKIE
from core.runtime.http.errors import Problem


async def test_menu_of_supervision_goes_out_before_its_figures_are_read_and_what_fails_then_is_said_below_it(
    app: FastAPI, enter: Any, tenancy: Any, monkeypatch: Any
) -> None:
    browser = await enter(tenancy.id, "reader")
    whole = await browser.get("/supervision")
    read, read_supervised = asyncio.Event(), views.read_supervised

    async def read_late(caller: Any) -> views.Supervised:
        await read.wait()
        return await read_supervised(caller)

    async def fail(caller: Any) -> views.Supervised:
        raise Problem(503, "la base ne répond pas")

    sent: asyncio.Queue[Message] = asyncio.Queue()
    token = browser.cookies.get(LOOPBACK_COOKIE, domain="localhost.local")
    headers = {"host": "localhost", "accept": "text/html", "cookie": f"{LOOPBACK_COOKIE}={token}"}
    scope = {"type": "http", "http_version": "1.1", "method": "GET", "path": "/supervision", "query_string": b""}
    scope |= {"scheme": "http", "server": ("localhost", 80), "client": ("127.0.0.1", 1), "root_path": ""}
    scope |= {"raw_path": b"/supervision", "headers": [(k.encode(), v.encode()) for k, v in headers.items()]}

    async def nothing_more() -> Message:
        await asyncio.Event().wait()
        return {}

    monkeypatch.setattr(views, "read_supervised", read_late)
    answering = asyncio.create_task(app(scope, nothing_more, sent.put))
    status, beginning = (await sent.get())["status"], (await sent.get())["body"].decode()
    read.set()
    await answering
    rest = b"".join([sent.get_nowait()["body"] for _ in range(sent.qsize())]).decode()
    monkeypatch.setattr(views, "read_supervised", fail)
    failed = await browser.get("/supervision")

    assert status == 200
    assert beginning.rstrip().endswith("</header>")
    assert 'aria-current="page"' in beginning
    assert "&lt;" not in beginning
    assert _lasting(beginning + rest) == _lasting(whole.text)
    assert _lasting(failed.text).startswith(_lasting(beginning))
    assert "La base de données ne répond pas" in failed.text
    assert failed.text.count("<h1>") == failed.text.count("</html>") == 1


def _lasting(page: str) -> str:
    """What is the same in every answer."""
    return re.sub(r'( value| data-at)="[0-9a-f.T:+-]{30,}"', "", page)
