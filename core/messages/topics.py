"""The subjects of the bus, and their shards (docs/architecture.md, "Slots, shards, owners")."""

from zlib import crc32

from lorawan.identifiers import SLOTS

FRAMES = "FRAMES"
UPLINKS = "UPLINKS"
MEASUREMENTS = "MEASUREMENTS"

SHARD_COUNTS = (1, 2, 4, 8, 16)

LIVE_LOOKS = "territoire.live.looks"
REGISTRY_CHANGED = "territoire.registry"

# Every shard's, gateway's or viewer's of the function that is named alike.
ALL_FRAMES = "territoire.frames.*"
ALL_UPLINKS = "territoire.uplinks.*"
ALL_MEASUREMENTS = "territoire.measurements.*"
ALL_DOWNLINKS_DUE = "territoire.downlink.*"
ALL_DOWNLINKS_DONE = "territoire.downlink.done.*"
GATEWAY_DOWNS = "territoire.gateway.*.down"
GATEWAY_CLAIMS = "territoire.gateway.*.claim"
GATEWAY_OWNERS = "territoire.gateway.*.owner"
ALL_LIVE_FRAMES = "territoire.live.frames.*"


def frames(shard: int) -> str:
    """Receptions of frames, for the owner of `shard` in network."""
    return f"territoire.frames.{shard}"


def uplinks(shard: int) -> str:
    """Uplinks for the owner of `shard` in ingest."""
    return f"territoire.uplinks.{shard}"


def measurements(shard: int) -> str:
    """Committed measurements of the assets of `shard`."""
    return f"territoire.measurements.{shard}"


def downlink_due(shard: int) -> str:
    """A nudge: a downlink row waits for the owner of `shard` in network. The body is the device's id."""
    return f"territoire.downlink.{shard}"


def downlink_done(shard: int) -> str:
    """A nudge: the state of a downlink row of `shard` changed. The body is the row's id."""
    return f"territoire.downlink.done.{shard}"


def shards_moved(service: str) -> str:
    """A nudge: a replica of `service` has come, or has left a shard to the others."""
    return f"territoire.shards.{service}"


def gateway_down(gateway_id: bytes) -> str:
    """Requests to transmit for the bridge replica that holds this gateway's path."""
    return f"territoire.gateway.{gateway_id.hex()}.down"


def gateway_claim(gateway_id: bytes) -> str:
    """A replica says that it holds this gateway's path from now on; the former holder lets go."""
    return f"territoire.gateway.{gateway_id.hex()}.claim"


def gateway_owner(gateway_id: bytes) -> str:
    """Asked before a claim: whether the replica that holds this gateway's path would let it go (`Claim`)."""
    return f"territoire.gateway.{gateway_id.hex()}.owner"


def live_frames(look_id: str) -> str:
    """Frames for one viewer, who has said so on `LIVE_LOOKS`. Nobody keeps them."""
    return f"territoire.live.frames.{look_id}"


def shard_of_slot(slot: int, shards: int) -> int:
    """The shard that owns `slot` when there are `shards` of them."""
    return slot % shards


def slot_of_asset(asset_id: int) -> int:
    """The slot (0 to 15) of an asset's measurements: crc32 over its id, 4 big-endian bytes."""
    return crc32(asset_id.to_bytes(4, "big")) & (SLOTS - 1)


def slots_of_shard(shard: int, shards: int) -> list[int]:
    """Every slot of a shard."""
    return [slot for slot in range(SLOTS) if slot % shards == shard]
