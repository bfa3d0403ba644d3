"""Prepares a batch of rows from bus items: the steps that query the registry, around `ingest.pipeline`."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from core.messages.uplinks import Uplink
from core.model.quarantine import Quarantined, QuarantineReason
from core.runtime.errors import describe_defect
from core.runtime.postgres import Pool
from ingest.batch import Prepared, Shown, UplinkMessage, compose, quarantine_of, wanted_datastreams
from ingest.pipeline import Interpreted, KnownDevice, interpret, place, problem_of, readable
from ingest.registry_cache import KnownDevices, KnownGateways
from ingest.scripts import Answers, Reads, Scripts
from registry.changes import Change
from registry.datastreams import make_datastreams

# Interpreting this many takes some milliseconds; then the loop may go on with a transaction, or renew a lease.
INTERPRETED_AT_ONCE = 200

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Registry:
    """The caches of registry data that decoding needs; `apply` brings a change of the registry into them."""

    pool: Pool
    devices: KnownDevices
    gateways: KnownGateways
    scripts: Scripts | None = None  # None: no vendor's codec runs here, and their frames wait.

    async def apply(self, changes: list[Change]) -> None:
        """Apply changes of the registry; the callback of a `RegistryWatcher`."""
        self.devices.apply(changes)
        self.gateways.apply(changes)
        if self.scripts is not None:
            self.scripts.apply(changes)


async def prepare(messages: Sequence[UplinkMessage], registry: Registry, reads: Reads | None = None) -> Prepared:
    """The interpreted uplinks, with their rows unless these depend on what is stored already.

    Sort out, resolve devices, ask vendors' codecs, interpret, resolve datastreams and gateways, compose. `reads`
    are what the vendors' codecs have answered, when they were asked before. Raises one of DATABASE_AWAY;
    ForeignKeyViolationError when something known is gone meanwhile.
    """
    prepared = Prepared()
    devices = await _resolve_devices(messages, registry)
    if reads is None:
        reads = (await ask_scripts(messages, registry)).reads
    for message in messages:
        for start in range(0, len(message.uplinks), INTERPRETED_AT_ONCE):
            part = message.uplinks[start : start + INTERPRETED_AT_ONCE]
            _interpret_all(UplinkMessage(message.subject, message.sequence, part), devices, reads, prepared)
            await asyncio.sleep(0)
    shadowed = {id_: device for id_, device in devices.items() if device.shadow is not None}
    if shadowed:
        prepared.shadowed = [
            Shown(interpreted.uplink, device, reads.get(interpreted.uplink.uplink_id))
            for interpreted in prepared.uplinks
            if interpreted.status != "empty" and (device := shadowed.get(interpreted.uplink.device_id)) is not None
        ]
    await resolve_datastreams(prepared.uplinks, registry.pool)
    prepared.gateways = await registry.gateways.resolve(
        {
            reception.gateway_id
            for message in messages
            for uplink in message.uplinks
            for reception in uplink.receptions
        }
    )
    if not prepared.late and all(interpreted.uplink.session_id for interpreted in prepared.uplinks):
        prepared.batch = compose(prepared)
    return prepared


async def ask_scripts(
    messages: Sequence[UplinkMessage], registry: Registry, patience_s: float | None = None
) -> Answers:
    """What vendors' codecs say of these uplinks; later, where one takes longer than this time, if one is given."""
    if registry.scripts is None:
        return Answers()
    devices = await _resolve_devices(messages, registry)
    if all(device.vendor is None for device in devices.values()):
        return Answers()
    return await registry.scripts.read_all(messages, devices, patience_s)


async def _resolve_devices(messages: Sequence[UplinkMessage], registry: Registry) -> dict[int, KnownDevice]:
    return await registry.devices.resolve(uplink.device_id for message in messages for uplink in message.uplinks)


def _interpret_all(
    message: UplinkMessage, devices: dict[int, KnownDevice], reads: Reads, prepared: Prepared
) -> None:
    """Interpret each uplink; one of which no row can be made goes to quarantine, whatever fails."""
    for uplink in message.uplinks:
        try:
            problem = problem_of(uplink)
            if problem is not None:
                reason = QuarantineReason.IMPOSSIBLE_FIELD
                prepared.quarantined += _quarantined(message, uplink, reason, problem)
            elif (device := devices.get(uplink.device_id)) is None:
                prepared.quarantined += _quarantined(message, uplink, QuarantineReason.UNKNOWN_DEVICE)
            elif uplink.late:
                prepared.late.append(uplink)
            else:
                read = reads.get(uplink.uplink_id) if reads else None
                prepared.uplinks.append(interpret(uplink, device, read))
        except Exception as defect:
            log.exception("uplink_not_prepared", sequence=message.sequence)
            detail = readable(describe_defect(defect))
            prepared.quarantined += _quarantined(message, uplink, QuarantineReason.DEFECT, detail)


def _quarantined(
    message: UplinkMessage, uplink: Uplink, reason: QuarantineReason, detail: str = ""
) -> list[Quarantined]:
    return quarantine_of(UplinkMessage(message.subject, message.sequence, [uplink]), reason, detail)


async def resolve_datastreams(interpreted: Sequence[Interpreted], pool: Pool) -> None:
    """Every value's datastream is known to its device from now on, made if it is new; values become rows."""
    waiting = [uplink for uplink in interpreted if uplink.values]
    wanted = wanted_datastreams(waiting)
    if wanted:
        ids = await make_datastreams(pool, list(wanted))
        for want, uplinks in wanted.items():
            for uplink in uplinks:
                uplink.serving.remember(want.channel, want.quantity, ids[want])
    for uplink in waiting:
        place(uplink)
