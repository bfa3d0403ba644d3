"""From items of the bus to a batch of rows: the steps that ask the registry, around those that do not."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from core.registry.changes import Change
from core.registry.datastreams import make_datastreams
from core.runtime.postgres import Pool
from ingest.batch import Batch, Item, Quarantined, quarantine_of, wanted_datastreams
from ingest.gateways import KnownGateways
from ingest.known_devices import KnownDevice, KnownDevices
from ingest.pipeline import Interpreted, interpret, problem_of

# Interpreting this many takes some ten milliseconds; then the loop may renew a lease.
INTERPRETED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Registry:
    """What is known of the registry, told of its changes by `apply`."""

    pool: Pool
    devices: KnownDevices
    gateways: KnownGateways

    async def apply(self, changes: list[Change]) -> None:
        """For a `RegistryWatcher`."""
        self.devices.apply(changes)
        self.gateways.apply(changes)


async def prepare(items: Sequence[Item], registry: Registry) -> Batch:
    """The rows of these items: sort out, resolve devices, interpret, resolve datastreams and gateways, gather.

    Raises one of DATABASE_AWAY; ForeignKeyViolationError when something known is gone meanwhile.
    """
    batch = Batch()
    readable, batch.quarantined = sort_out(items)
    devices = await registry.devices.resolve(item.uplink.device_id for item in readable)
    present = [item for item in readable if item.uplink.device_id in devices]
    absent = [item for item in readable if item.uplink.device_id not in devices]
    batch.quarantined += quarantine_of(absent, "unknown_device", "L'équipement n'existe plus dans le référentiel")
    interpreted = await interpret_all([item for item in present if not item.uplink.late], devices)
    await resolve_datastreams(interpreted, registry.pool)
    gateways = await registry.gateways.resolve(
        heard.gateway_id for item in present for heard in item.uplink.heard_by
    )
    for uplink in interpreted:
        batch.add(uplink, gateways)
    for item in present:
        if item.uplink.late:
            batch.add_late(item.uplink, gateways)
    return batch


def sort_out(items: Sequence[Item]) -> tuple[list[Item], list[Quarantined]]:
    """The items of which rows can be made, and the others for quarantine."""
    readable: list[Item] = []
    refused: list[Quarantined] = []
    for item in items:
        problem = problem_of(item.uplink)
        if problem is None:
            readable.append(item)
        else:
            refused += quarantine_of([item], "impossible_field", f"Champ impossible : {problem}")
    return readable, refused


async def interpret_all(items: Sequence[Item], devices: dict[int, KnownDevice]) -> list[Interpreted]:
    """Interpret each, and let others run in between."""
    interpreted: list[Interpreted] = []
    for start in range(0, len(items), INTERPRETED_AT_ONCE):
        interpreted += [
            interpret(item.uplink, devices[item.uplink.device_id])
            for item in items[start : start + INTERPRETED_AT_ONCE]
        ]
        await asyncio.sleep(0)
    return interpreted


async def resolve_datastreams(interpreted: Sequence[Interpreted], pool: Pool) -> None:
    """Every value's datastream is known to its device from now on, made if it is new."""
    wanted = wanted_datastreams(interpreted)
    if not wanted:
        return
    ids = await make_datastreams(pool, list(wanted))
    for want, uplinks in wanted.items():
        for uplink in uplinks:
            uplink.serving.datastreams[want.channel, want.quantity] = ids[want]
