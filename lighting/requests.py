"""Checks and enqueues a lighting command in the caller's transaction."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.runtime.postgres import Connection
from decoders.catalogue import CODECS
from decoders.codec import EncodedCommand
from lighting import circuit_store, command_store, meter_store, open_command_store
from lighting.circuit_store import KINDS, Circuit
from lighting.command_store import NewCommand
from lighting.commands import GROUP_REPORTS_WITHIN, RejectedLightingCommand, check_request, expected_power
from lighting.expected import read_lamps
from lighting.octets import NO_SWITCH, Asked, Octets, octets_of_codec
from registry.downlinks import Enqueued, enqueue, enqueue_in_group

# lorawan.airtime.Priority.COMMAND: before routine traffic, after joins and acknowledgements.
PRIORITY = 1
# lorawan.airtime.Priority.JOIN_OR_ACK: up to the band's own limit.
EMERGENCY_PRIORITY = 0
USEFUL_FOR = timedelta(minutes=10)
# A question after its command was sent.
READ_BACK_USEFUL_FOR = timedelta(minutes=2)
# Of a device of class A: one in which the command goes out, one after which its proof comes.
UPLINKS_AWAITED = 2
NOT_SERVED = "aucun équipement ne commande cette armoire en ce moment"
DISABLED = "l'équipement de cette armoire est désactivé"


@dataclass(frozen=True, slots=True)
class Requested:
    """The new command, and the slot to nudge once the transaction is committed."""

    command: command_store.Command
    slot: int


@dataclass(frozen=True, slots=True)
class LightingRequest:
    """What is asked of a circuit, by whom and why."""

    action: str
    requested_by: str
    reason: str
    off_until: datetime | None = None
    level: int | None = None
    owes_light: bool = False  # It is repeated until the cabinet says that it is lit.
    is_automatic: bool = False  # Nobody asks for it.
    priority: int = PRIORITY
    not_before: datetime | None = None  # Its turn at the gateway.
    out_before: datetime | None = None  # Of its frame: one that is still waiting then is sent again later.
    useful_for: timedelta = USEFUL_FOR

    def asked_at(self, now: datetime) -> Asked:
        """What is to be encoded for it."""
        return Asked(now, self.level, self.off_until)


def circuits_to_command(circuits: list[Circuit], request: LightingRequest, now: datetime) -> list[Circuit]:
    """Those of an asset's circuits to which a request goes: all of them, to put out but those that are protected.

    Raises:
        RejectedLightingCommand: to none, or one cannot be commanded so; the message says why, in French.
    """
    if not circuits:
        raise RejectedLightingCommand("les circuits de cette armoire ne sont pas visibles avec ces droits")
    if any(circuit.kind not in KINDS for circuit in circuits):
        raise RejectedLightingCommand(
            "cet actif n'est ni une armoire, ni un circuit, ni un point lumineux : ce qui le sert se commande par "
            "/v1/devices/<dev_eui>/commands"
        )
    chosen = [circuit for circuit in circuits if request.action != "off" or not circuit.is_protected]
    for circuit in chosen or circuits:
        check_circuit(circuit, request, now)
    return chosen


def check_circuit(circuit: Circuit, request: LightingRequest, now: datetime) -> None:
    """Whether this may be asked of a circuit.

    Raises:
        RejectedLightingCommand: it may not; the message says why, in French.
    """
    if circuit.device_id is None:
        raise RejectedLightingCommand(NOT_SERVED)
    if not circuit.enabled:
        raise RejectedLightingCommand(DISABLED)
    check_request(request.action, request.off_until, request.level, circuit.capabilities or (), now)
    if circuit.is_protected and request.action == "off":
        raise RejectedLightingCommand("ce circuit est protégé : il ne s'éteint jamais")


def native_octets(
    codec: str | None, output: str | None, asked: Asked, reported: Collection[str] | None = None
) -> Octets:
    """The octets of a codec of this program for a circuit on this output.

    Raises:
        RejectedLightingCommand: it knows no such command.
    """
    known = None if codec is None else CODECS.get(codec)
    if known is None:
        raise RejectedLightingCommand(NO_SWITCH)
    return octets_of_codec(known, known.proof, output, asked, reported or ())


async def send(
    connection: Connection,
    device_id: int,
    frame: EncodedCommand,
    not_after: datetime,
    priority: int = PRIORITY,
    *,
    not_before: datetime | None = None,
) -> Enqueued:
    """A frame of lighting's own: what it does is known."""
    return await enqueue(
        connection,
        device_id,
        f_port=frame.f_port,
        payload=frame.payload,
        not_after=not_after,
        priority=priority,
        by_lighting=True,
        not_before=not_before,
    )


async def request_command(
    connection: Connection,
    circuit: Circuit,
    request: LightingRequest,
    octets: Octets,
    now: datetime,
    message_id: int | None = None,
) -> Requested:
    """Ask a circuit to switch; its open commands are superseded. `octets` are what its device is to be sent.

    After the commit nudge `topics.downlink_due` of the slot's shard. With `message_id` a message to the multicast
    group of its device says it.

    Raises:
        RejectedLightingCommand: it may not be given; the message says why, in French.
        LookupError: no such asset is visible.
    """
    check_circuit(circuit, request, now)
    frame = octets.frames.get(request.action)
    if frame is None or circuit.device_id is None:
        raise RejectedLightingCommand(f"le décodeur de cet équipement ne sait pas faire cela ({request.action})")
    if not await circuit_store.lock_asset(connection, circuit.asset_id):
        raise LookupError(f"asset {circuit.asset_id}")
    await command_store.supersede_open(connection, circuit.asset_id)
    # Its own frame, should it not report with its group.
    useful_for = max(request.useful_for, _useful_for(circuit))
    useful_for += timedelta(0) if message_id is None else GROUP_REPORTS_WITHIN
    not_after = now + useful_for if request.off_until is None else min(now + useful_for, request.off_until)
    if message_id is None:
        out_before = min(not_after, request.out_before or not_after)
        row = await send(
            connection, circuit.device_id, frame, out_before, request.priority, not_before=request.not_before
        )
    else:
        row = await enqueue_in_group(connection, circuit.device_id, message_id)
    new = NewCommand(
        *(circuit.asset_id, circuit.device_id, request.action, request.level, request.off_until),
        *(request.requested_by, request.reason, row.id, not_after, octets),
        expected_power=await _expected_power(connection, circuit.asset_id, request),
        owes_light=request.owes_light,
        is_automatic=request.is_automatic,
    )
    return Requested(await command_store.insert_command(connection, new), row.slot)


def _useful_for(circuit: Circuit) -> timedelta:
    """A device of class A hears nothing before its next uplink, of which one may be lost."""
    if circuit.device_class != "A" or circuit.expected_interval is None:
        return USEFUL_FOR
    return USEFUL_FOR + UPLINKS_AWAITED * open_command_store.REPORTS * circuit.expected_interval


async def _expected_power(
    connection: Connection, asset_id: int, request: LightingRequest
) -> tuple[float, float] | None:
    if not await meter_store.has_meter(connection, asset_id):
        return None
    lamps = (await read_lamps(connection, [asset_id]))[asset_id].lamps
    rated_w = None if lamps.rated_power_w is None else lamps.rated_power_w * lamps.program.coefficient
    return expected_power(request.action, request.level, rated_w)
