"""AES keys with which meters encrypt (M-Bus): a device's own, or its profile's default; wrapped at rest.

The API writes them and shows that they exist. Only the services read and unwrap them, in memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from core.runtime.postgres import Connection, Pool
from decoders.codec import UnopenedKey
from lorawan.crypto import WrongKek
from registry.keys import KeyWrap, device_owner, row_owner
from registry.rows import entity, fetch_all

# The id that stands for any meter of the device without a key of its own.
ANY_METER = ""

SET_OF_DEVICE = """
INSERT INTO device_decoding_key (device_id, meter_id, key_wrapped, kek_id) VALUES ($1, $2, $3, $4)
ON CONFLICT (device_id, meter_id) DO UPDATE SET key_wrapped = $3, kek_id = $4, sealed_for = NULL, set_at = now()
RETURNING set_at
"""
READ_DEV_EUI = "SELECT dev_eui FROM device WHERE id = $1"
DELETE_OF_DEVICE = "DELETE FROM device_decoding_key WHERE device_id = $1 AND meter_id = $2 RETURNING true"
LIST_OF_DEVICE = "SELECT meter_id, set_at FROM device_decoding_key WHERE device_id = $1 ORDER BY meter_id"
SET_OF_PROFILE = """
INSERT INTO profile_decoding_key (tenant_id, device_profile_id, key_wrapped, kek_id, sealed_for)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant_id, device_profile_id)
DO UPDATE SET key_wrapped = $3, kek_id = $4, sealed_for = $5, set_at = now()
RETURNING set_at
"""
DELETE_OF_PROFILE = """
DELETE FROM profile_decoding_key WHERE tenant_id = $1 AND device_profile_id = $2 RETURNING true
"""
READ_OF_PROFILE = "SELECT set_at FROM profile_decoding_key WHERE tenant_id = $1 AND device_profile_id = $2"
READ_WRAPPED = """
SELECT k.device_id, d.dev_eui, k.meter_id, k.key_wrapped, k.kek_id, k.sealed_for
FROM device_decoding_key k JOIN device d ON d.id = k.device_id WHERE k.device_id = ANY($1::int[])
UNION ALL
SELECT d.id, d.dev_eui, '', k.key_wrapped, k.kek_id, k.sealed_for
FROM profile_decoding_key k
JOIN device d ON d.tenant_id = k.tenant_id AND d.device_profile_id = k.device_profile_id
WHERE d.id = ANY($1::int[])
  AND NOT EXISTS (SELECT FROM device_decoding_key own WHERE own.device_id = d.id AND own.meter_id = '')
"""


@dataclass(frozen=True, slots=True)
class KeyPresence:
    """That there is a key, and since when; `meter_id` is `ANY_METER` for all meters without one of their own."""

    meter_id: str
    set_at: datetime


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A key of a device as it is stored. `sealed_for`: it is, or was, its profile's default."""

    device_id: int
    dev_eui: bytes
    meter_id: str
    key_wrapped: bytes = field(repr=False)
    kek_id: str
    sealed_for: UUID | None

    @property
    def owner(self) -> str:
        """The owner that it was sealed for."""
        if self.sealed_for is not None:
            return row_owner("profile_decoding_key", self.sealed_for)
        return decoding_key_owner(self.dev_eui, self.meter_id)

    def opened(self, keys: KeyWrap | None) -> str | UnopenedKey:
        """The key in hexadecimal, or why it does not open; None is a process without key-encryption key."""
        reason = f"la clé de décodage ne s'ouvre pas (posée sous {self.kek_id})"
        if keys is None:
            return UnopenedKey(f"{reason} : ce programme n'a pas de clé de chiffrement (TERRITOIRE_KEK)")
        try:
            return keys.unwrap(self.key_wrapped, self.owner).hex()
        except WrongKek:
            return UnopenedKey(
                f"{reason} avec {keys.kek_id} : rétablissez TERRITOIRE_KEK, ou posez la clé de nouveau"
            )


def decoding_key_owner(dev_eui: bytes, meter_id: str) -> str:
    """The owner of a device's own key for this meter."""
    return device_owner(dev_eui, f"decoding_key/{meter_id}")


async def set_device_key(
    connection: Connection, keys: KeyWrap, device_id: int, key: bytes, meter_id: str = ANY_METER
) -> datetime:
    """Set or replace a key (16 octets) of a device, live within 5 s; returns since when it is set."""
    owner = decoding_key_owner(await connection.fetchval(READ_DEV_EUI, device_id), meter_id)
    wrapped = keys.wrap(key, owner)
    return await connection.fetchval(SET_OF_DEVICE, device_id, meter_id, wrapped, keys.kek_id)


async def delete_device_key(connection: Connection, device_id: int, meter_id: str = ANY_METER) -> bool:
    """Delete the key, live within 5 s; False when there is none."""
    return await connection.fetchval(DELETE_OF_DEVICE, device_id, meter_id) is True


async def list_device_keys(connection: Connection, device_id: int) -> list[KeyPresence]:
    """The keys that the device has of its own."""
    return await fetch_all(connection, KeyPresence, LIST_OF_DEVICE, device_id)


async def set_profile_key(
    connection: Connection, keys: KeyWrap, tenant_id: int, device_profile_id: int, key: bytes
) -> datetime:
    """Set or replace the default key (16 octets) of this tenant's devices of a profile, live within 5 s."""
    sealed_for = uuid4()
    wrapped = keys.wrap(key, row_owner("profile_decoding_key", sealed_for))
    return await connection.fetchval(
        SET_OF_PROFILE, tenant_id, device_profile_id, wrapped, keys.kek_id, sealed_for
    )


async def delete_profile_key(connection: Connection, tenant_id: int, device_profile_id: int) -> bool:
    """Delete the key, live within 5 s; False when there is none."""
    return await connection.fetchval(DELETE_OF_PROFILE, tenant_id, device_profile_id) is True


async def read_profile_key(connection: Connection, tenant_id: int, device_profile_id: int) -> datetime | None:
    """Since when this tenant has a default key for this profile; None: it has none."""
    return await connection.fetchval(READ_OF_PROFILE, tenant_id, device_profile_id)


async def read_device_keys(
    connection: Connection | Pool, device_ids: Sequence[int], keys: KeyWrap | None
) -> dict[int, Mapping[str, Any]]:
    """What codecs' options hold besides for these devices (`SECRET_OPTIONS`), their keys opened: for the services.

    A device without a key, its profile's default included, is absent.
    """
    found: dict[int, dict[str, Any]] = {}
    for row in await connection.fetch(READ_WRAPPED, device_ids):
        wrapped = entity(WrappedKey, row)
        options = found.setdefault(wrapped.device_id, {})
        if wrapped.meter_id == ANY_METER:
            options["key"] = wrapped.opened(keys)
        else:
            options.setdefault("keys", {})[wrapped.meter_id] = wrapped.opened(keys)
    return dict(found)
