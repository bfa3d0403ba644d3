"""Checks, encodes and enqueues a lighting command in the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from core.runtime.postgres import Connection
from decoders.catalogue import CODECS
from decoders.codec import EncodedCommand, UnsupportedCommand
from lighting import store
from lighting.commands import RejectedLightingCommand, check_request
from registry.downlinks import enqueue

# lorawan.airtime.Priority.COMMAND: before routine traffic, after joins and acknowledgements.
PRIORITY = 1
USEFUL_FOR = timedelta(minutes=10)
# A cabinet that could not be lit again is tried until it says that it is lit: no street stays dark.
RELIGHT_AGAIN_AFTER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Requested:
    """The new command, and the slot to nudge once the transaction is committed."""

    command: store.Command
    slot: int


def encode(codec: str, name: str) -> EncodedCommand:
    """The octets of command `name` for a device with this codec.

    Raises:
        RejectedLightingCommand: the codec cannot encode it.
    """
    known = CODECS.get(codec)
    if known is None or known.encode is None:
        raise RejectedLightingCommand(f"le décodeur {codec} ne sait pas commander cet équipement")
    try:
        return known.encode(name, {})
    except UnsupportedCommand as unsupported:
        raise RejectedLightingCommand(str(unsupported)) from unsupported


def is_off(codec: str, payload: bytes) -> bool:
    """Whether these octets are what this codec says for "off"."""
    try:
        return encode(codec, "switch_off").payload == payload
    except RejectedLightingCommand:
        return False


async def request_command(
    connection: Connection,
    asset_id: int,
    *,
    action: str,
    off_until: datetime | None,
    requested_by: str,
    reason: str,
    now: datetime,
) -> Requested:
    """Ask a cabinet to switch; open commands of the cabinet are superseded.

    After the commit nudge `topics.downlink_due` of the slot's shard.

    Raises:
        RejectedLightingCommand: it may not be given; the message says why, in French.
        LookupError: no such asset is visible.
    """
    if not await store.lock_asset(connection, asset_id):
        raise LookupError(f"asset {asset_id}")
    cabinet = await store.find_cabinet(connection, asset_id)
    if cabinet is None:
        raise RejectedLightingCommand("aucun équipement ne commande cette armoire en ce moment")
    if not cabinet.enabled:
        raise RejectedLightingCommand("l'équipement de cette armoire est désactivé")
    check_request(action, off_until, cabinet.capabilities, now)
    encoded = encode(cabinet.codec, f"switch_{action}")
    await store.supersede_open(connection, asset_id)
    not_after = now + USEFUL_FOR if off_until is None else min(now + USEFUL_FOR, off_until)
    row = await enqueue(
        connection,
        cabinet.device_id,
        f_port=encoded.f_port,
        payload=encoded.payload,
        not_after=not_after,
        priority=PRIORITY,
    )
    command = await store.insert_command(
        connection,
        asset_id,
        device_id=cabinet.device_id,
        action=action,
        off_until=off_until,
        requested_by=requested_by,
        reason=reason,
        downlink_id=row.id,
        not_after=not_after,
        relight_again_after=RELIGHT_AGAIN_AFTER,
    )
    return Requested(command, row.slot)
