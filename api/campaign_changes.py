"""Who makes a lighting campaign, what it commands, and with whom that is kept."""

from collections.abc import Mapping
from typing import Any

from api.auth import Caller, Change
from api.campaign_answers import show_campaign
from api.campaign_targets import Prepared
from api.impersonation import as_owner
from core.runtime.postgres import Connection
from lighting import campaign_store as store
from lighting import target_store
from lighting.campaign_store import Author, Campaign
from lighting.target_store import NewTarget
from registry.tenants import first_maker


async def author_of(connection: Connection, caller: Caller) -> Author:
    """Who acts. A key counts as who made it: nobody is two by making one."""
    return Author(caller.principal.name, await first_maker(connection, caller.principal))


def _new_targets(prepared: Prepared, canary: frozenset[int]) -> list[NewTarget]:
    return [
        NewTarget(one.asset_id, one.gateway, one.airtime_us, one.octets, one.asset_id in canary)
        for one in prepared.targets
    ]


async def create_campaign(
    change: Change, caller: Caller, values: Mapping[str, Any], prepared: Prepared, canary: frozenset[int]
) -> Campaign:
    """The campaign and the circuits that it commands, those of `canary` first."""
    author = await author_of(change.connection, caller)
    made = await store.create_campaign(change.connection, change.tenant_id, values, author, prepared.neighbours)
    await target_store.add_targets(change.connection, made, _new_targets(prepared, canary))
    return made


async def audit_everywhere(
    change: Change, action: str, made: Campaign, owners: Mapping[int, tuple[int, int]]
) -> None:
    """On the author's side, and on that of everybody whose lamps it commands: of these the number, no more."""
    total = sum(count for _, count in owners.values())
    await change.audit(action, "lighting_campaign", made.id, {"targets": total}, after=show_campaign(made))
    for owner, (asset_id, count) in owners.items():
        if owner != change.tenant_id:
            async with as_owner(change, owner, asset_id, f"actif {asset_id}") as acting:
                await acting.audit(
                    action, "lighting_campaign", made.id, {"targets": count}, after=show_campaign(made)
                )
