"""Rotation of a signing secret: both secrets are valid for a while, the new one is shown once."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import Field

from api.auth import Caller
from api.fields import Answer, Body, example
from api.resources import Resource
from core.runtime.postgres import Connection
from registry.keys import KeyWrap


class RotationBody(Body):
    """Changer le secret de signature."""

    model_config = example({"keep_former_hours": 24})

    keep_former_hours: int = Field(
        24,
        ge=0,
        le=720,
        description="Heures pendant lesquelles l'ancien secret vaut aussi ; 0 : il ne vaut plus",
    )


class RotationAnswer(Answer):
    """Le nouveau secret, montré cette seule fois."""

    secret: str = Field(examples=["whsec_…"])
    previous_until: datetime


async def rotate(
    resource: Resource[Any, Any],
    caller: Caller,
    key: int,
    body: RotationBody,
    renew: Callable[[Connection, KeyWrap, int, datetime], Awaitable[str | None]],
) -> RotationAnswer:
    """Give the object another secret, shown this once; the former is good, too, for as long as is asked."""
    until = datetime.now(UTC) + timedelta(hours=body.keep_former_hours)
    after = {"previous_until": until}
    async with caller.changing() as change:
        secret = await renew(change.connection, caller.platform.keys, key, until)
        if secret is None:
            raise resource.missing(key)
        await change.audit("rotate", resource.entity, key, after=after)
    return RotationAnswer(secret=secret, previous_until=until)
