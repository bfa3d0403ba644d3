"""Changes that an operator makes to a shared asset in its owner's name, audited on both sides."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

from api.auth import Change
from core.runtime.http.errors import read_only
from registry.entering import enter_home, enter_owner_of


@asynccontextmanager
async def as_owner(change: Change, owner_id: int, asset_id: int | None, what: str) -> AsyncGenerator[Change]:
    """The change itself for one's own asset; else a change in its owner's name, who reads whose actor it was.

    Raises 403 without a grant of the role `operator` on the asset.
    """
    if owner_id == change.tenant_id:
        yield change
        return
    if asset_id is None or await enter_owner_of(change.connection, asset_id) != owner_id:
        raise read_only(what)
    yield replace(
        change,
        tenant_id=owner_id,
        actor=f"{change.actor} ({change.tenant_slug})",
        audit_actor=f"{change.audit_actor} ({change.tenant_slug})",
        identity={**change.identity, "of_tenant": change.tenant_slug},
    )
    await enter_home(change.connection)
