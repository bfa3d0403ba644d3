"""Computes a device's shard from its slot (docs/architecture.md, "Slots, shards, owners")."""

from zlib import crc32

from lorawan.identifiers import SLOTS


def shard_of_slot(slot: int, shards: int) -> int:
    """The shard that owns `slot` when there are `shards` of them."""
    return slot % shards


def slot_of_asset(asset_id: int) -> int:
    """The slot (0 to 15) of an asset's measurements: crc32 over its id, 4 big-endian bytes."""
    return crc32(asset_id.to_bytes(4, "big")) & (SLOTS - 1)


def slots_of_shard(shard: int, shards: int) -> list[int]:
    """Every slot of a shard."""
    return [slot for slot in range(SLOTS) if slot % shards == shard]
