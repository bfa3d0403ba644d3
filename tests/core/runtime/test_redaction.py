"""Nothing secret reaches the log, whatever logs it and however it is rendered."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable
from io import StringIO
from typing import Any

import httpx
import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from core.runtime.health import serve_http
from core.runtime.postgres import connect
from core.runtime.redaction import redact, redact_free_text, redact_text
from core.runtime.telemetry import configure_logs

APP_KEY = "2b7e151628aed2a6abf7158809cf4f3c"
PASSWORD = "hunter2-Sésame"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
API_KEY = "terr_0a1b2c3d4e5f_V1StGXR8_Z5jdHi6B-myT"
SECRETS = (APP_KEY, PASSWORD, WEBHOOK_SECRET, API_KEY)

# Whole sentences as drivers, libraries and careless lines say them.
TEXTS = (
    f"could not connect to postgres://territoire:{PASSWORD}@db:5432/territoire",
    f"postgresql://territoire:{PASSWORD}/with@signs@db/territoire refused",
    f"no servers: nats://a:{PASSWORD}@n1:4222,tls://a:{PASSWORD}@n2:4222?ca=/etc/ca.pem",
    f"mqtt://bridge:{PASSWORD}@mosquitto:1883 and mqtts://bridge:{PASSWORD}@broker:8883",
    f"Authorization: Bearer {API_KEY}",
    f"[(b'authorization', b'Bearer {API_KEY}'), (b'accept', b'*/*')]",
    f"authorization: Basic {'dXNlcjpodW50ZXIyLVPDqXNhbWU='}",
    f"GET /v1/hook?token={PASSWORD}&page=2",
    f"the endpoint's secret {WEBHOOK_SECRET} does not verify",
    f"Settings(kek=SecretStr('{APP_KEY}'), kek_id='kek-1')",
    f"Device(app_key=b'{APP_KEY}', nwk_key='{APP_KEY}')",
    f'{{"AppKey": "{APP_KEY}", "app_s_key": "{APP_KEY}"}}',
    f"Key (app_key)=({APP_KEY}) already exists.",
    f"TERRITOIRE_KEK={APP_KEY}",
    f"password: {PASSWORD}",
)


@pytest.fixture
def said() -> Callable[[str], StringIO]:
    def configure(log_format: str) -> StringIO:
        output = StringIO()
        configure_logs("network", "network-1", log_format, "DEBUG", output)
        return output

    return configure


def reject(text: str) -> None:
    raise ConnectionRefusedError(text)


def fail(text: str) -> None:
    try:
        reject(text)
    except ConnectionRefusedError as refused:
        raise RuntimeError(f"again: {text}") from refused


def assert_silent(said: str, lines: int) -> None:
    assert len(said.strip().splitlines()) >= lines
    for secret in (*SECRETS, "dXNlcjpodW50ZXIyLVPDqXNhbWU="):
        assert secret not in said
        assert json.dumps(secret)[1:-1] not in said


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_way_to_the_log_lets_a_credential_through(
    text: str, log_format: str, said: Callable[[str], StringIO]
) -> None:
    output = said(log_format)
    log = structlog.get_logger()

    class Unforeseen(msgspec.Struct):
        text: str

    log.info("told", error=text, nested={"a": [text]}, thing=Unforeseen(text), failure=ValueError(text))
    log.warning(text)
    logging.getLogger("asyncpg").warning("it said: %s", text)
    logging.getLogger("uvicorn.error").error("Exception in ASGI application", exc_info=ValueError(text))
    logging.getLogger("py.warnings").warning("%s", text)
    try:
        fail(text)
    except RuntimeError:
        log.exception("service_failed")
        logging.getLogger("nats").exception("the connection broke")

    assert_silent(output.getvalue(), 6)


@pytest.mark.parametrize(
    "name",
    ["app_key", "nwk_s_key", "password", "authorization", "kek", "secret", "Token", "webhook_secret", "api_key"],
)
def test_what_is_named_like_a_secret_is_hidden_at_any_depth(name: str) -> None:
    assert redact(None, "info", {"told": [{name: "x"}], name: "y"}) == {"told": [{name: "***"}], name: "***"}


def test_what_is_no_secret_stays_readable() -> None:
    event: dict[str, Any] = {
        "event": "path_opened",
        "kek_id": "kek-1",
        "trace_id": APP_KEY,
        "gw_eui": "70b3d57ed0001234",
        "error": "relation « jeton » does not exist, key 12 of 30",
        "at": "https://db.example/v1/devices?page=2",
        "message_id": f"msg_{APP_KEY}",
    }

    assert redact(None, "info", dict(event)) == event
    assert redact_free_text(f"delivery msg_{APP_KEY} of 2026-11-25T20:00:00Z") == (
        f"delivery msg_{APP_KEY} of 2026-11-25T20:00:00Z"
    )


@given(st.text(st.characters(exclude_categories=("Z", "C"), exclude_characters="\"'<>"), min_size=4))
def test_no_password_in_an_address_is_readable(password: str) -> None:
    hidden = redact_text(f"at postgres://territoire:{password}@db:5432/territoire now")

    assert hidden == "at postgres://***@db:5432/territoire now"


async def test_the_drivers_own_words_about_a_wrong_password_and_a_broken_request_are_harmless(
    said: Callable[[str], StringIO],
) -> None:
    output = said("json")

    async def broken(_scope: Any, _receive: Any, _send: Any) -> None:
        raise ValueError(TEXTS[0])

    try:
        await connect(f"postgres://territoire:{PASSWORD}@127.0.0.1:1/territoire")
    except OSError:
        structlog.get_logger().exception("database_away")
    async with serve_http(broken, "127.0.0.1", 0) as port, httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{port}/")

    assert answer.status_code == 500
    assert "Exception in ASGI application" in output.getvalue()
    assert_silent(output.getvalue(), 2)


async def test_a_task_that_nobody_awaited_says_nothing_secret_when_it_dies(
    said: Callable[[str], StringIO],
) -> None:
    output = said("json")

    async def dying() -> AsyncGenerator[None]:
        raise RuntimeError(TEXTS[1])
        yield

    async def run() -> None:
        async for _ in dying():
            pass

    task = asyncio.create_task(run())
    await asyncio.wait([task])
    del task

    assert "never retrieved" in output.getvalue()
    assert_silent(output.getvalue(), 1)
