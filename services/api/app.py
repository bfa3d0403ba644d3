"""Composition root of the API: open, serve, wait, drain, close."""

import asyncio
from contextlib import AsyncExitStack

import structlog

from api.app import create_app
from api.dependencies import Access
from api.limits import Rates
from api.oidc import Provider, ProviderSettings
from core.runtime.bus import connect_bus
from core.runtime.health import serve_health, serve_http, starting
from core.runtime.lease import read_shards
from core.runtime.postgres import open_pool
from ingest.workers import open_workers
from registry.former_format import following_former_format
from registry.keys import key_wrap_of
from registry.policies import API_NAME
from registry.releases import announced
from registry.schema import require_schema
from registry.vouching import vouched
from services.api.front import Front
from services.api.settings import ApiSettings

# Requests under way when the service is stopped have this long to end.
FINISH_REQUESTS_S = 3

log = structlog.get_logger()


def _access_of(settings: ApiSettings) -> Access:
    """How people reach this installation."""
    return Access(
        settings.public_url,
        settings.api_trusted_proxies,
        settings.mailer,
        _provider_of(settings),
        Rates(
            settings.api_person_rate or None, settings.api_address_rate or None, settings.api_wrong_rate or None
        ),
        settings.map_tiles_url,
        settings.map_attribution,
        settings.osrm_url,
        settings.accessibility_contact,
        settings.mqtt_public_url,
    )


def _provider_of(settings: ApiSettings) -> Provider | None:
    """By whom people may log in; None when none is set."""
    if not settings.oidc_issuer:
        return None
    audience = settings.oidc_audience or settings.oidc_client_id
    secret = None if settings.oidc_client_secret is None else settings.oidc_client_secret.get_secret_value()
    return Provider(ProviderSettings(settings.oidc_issuer, settings.oidc_client_id, secret, audience))


async def run(settings: ApiSettings, stopping: asyncio.Event) -> None:
    """Answer requests until stopped. /livez, /readyz and /metrics have a port of their own."""
    readiness = starting()
    front = Front()
    async with AsyncExitStack() as outlive_requests, AsyncExitStack() as servers:
        await servers.enter_async_context(serve_health(readiness, settings.health_host, settings.health_port))
        port = await servers.enter_async_context(
            serve_http(
                front,
                settings.api_host,
                settings.api_port,
                shutdown_timeout_s=FINISH_REQUESTS_S,
                proxies=settings.api_proxy_protocol,
            )
        )
        pool = await outlive_requests.enter_async_context(
            open_pool(settings.database_url.get_secret_value(), API_NAME, size=settings.pool_size)
        )
        bus = await outlive_requests.enter_async_context(
            connect_bus(settings.nats_url.get_secret_value(), settings.instance)
        )
        async with pool.acquire() as connection:
            knows = await require_schema(connection)
            async with vouched(connection):
                pass  # Not at the first login: now.
            shards = await read_shards(connection)
        await outlive_requests.enter_async_context(announced(pool, "api", settings.instance, knows))
        await outlive_requests.enter_async_context(following_former_format(pool, settings))
        workers = await outlive_requests.enter_async_context(open_workers(settings.codec_workers))
        app = create_app(pool, bus, key_wrap_of(settings), shards, workers, _access_of(settings), settings.forms())
        readiness.checks = app.state.readiness.checks
        front.application = app
        log.info("listening", host=settings.api_host, port=port)
        await stopping.wait()
        app.state.changes.close()
        app.state.broadcast.close()  # Requests under way end by themselves, streams do not.
