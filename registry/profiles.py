"""SQL of device profiles for the API; row security bounds every statement."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from core.model.entities import DeviceProfile
from core.runtime.postgres import Connection
from registry.rows import Written, columns_of, fetch_all, fetch_one, insert

COLUMNS = columns_of(DeviceProfile)
WRITTEN = Written(
    "name, vendor, model, codec_options, device_class, mac_version, expected_interval, capabilities, "
    "firmware_from, firmware_until, commands, regional_revision, supports_join, max_eirp, "
    "moduli, sensor_ranges"
)
RADIO = Written(
    "rx1_delay, rx2_data_rate, adr, adr_min_data_rate, adr_max_data_rate, adr_min_tx_power, adr_max_tx_power"
)
DECODED = Written("codec, codec_version_id, shadow_version_id, mapping")
AS_THE_NETWORK: Mapping[str, Any] = MappingProxyType({})
CREATE = f"""
INSERT INTO device_profile (tenant_id, {DECODED.columns}, {RADIO.columns}, {WRITTEN.columns})
VALUES ($1, {DECODED.parameters(2)}, {RADIO.parameters(6)}, {WRITTEN.parameters(13)})
RETURNING {COLUMNS}
"""
READ = f"SELECT {COLUMNS} FROM device_profile WHERE id = $1"
LIST = f"SELECT {COLUMNS} FROM device_profile WHERE id > $1 ORDER BY id LIMIT $2"
UPDATE = f"""
UPDATE device_profile SET {RADIO.patched(2)}, {WRITTEN.patched(10)} WHERE id = $1 RETURNING {COLUMNS}
"""
POINT = f"""
UPDATE device_profile SET ({DECODED.columns}) = ROW({DECODED.parameters(2)}) WHERE id = $1 RETURNING {COLUMNS}
"""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How a profile's frames are read: a native codec by name, or a version of the codec of that name.

    `mapping` says what a vendor's own names mean; a native codec needs none.
    """

    codec: str
    codec_version_id: int | None = None
    shadow_version_id: int | None = None
    mapping: tuple[dict[str, Any], ...] = ()

    @classmethod
    def of(cls, profile: DeviceProfile) -> "Decoding":
        """How this profile's frames are read now."""
        return cls(profile.codec, profile.codec_version_id, profile.shadow_version_id, profile.mapping)

    def noted(self) -> dict[str, Any]:
        """The columns as JSON: for the audit, from which a rollback restores them."""
        return asdict(self) | {"mapping": list(self.mapping)}


async def create_profile(
    connection: Connection,
    tenant_id: int | None,
    decoding: Decoding,
    profile: Mapping[str, Any],
    radio: Mapping[str, Any] = AS_THE_NETWORK,
) -> DeviceProfile:
    """A new profile of this tenant, or with None one that is offered to every tenant.

    Of the columns in `WRITTEN`, and in `RADIO` those that are to differ from the network server's settings.

    Raises UniqueViolationError when the name is taken, ForeignKeyViolationError for another tenant's version.
    """
    values = (
        *DECODED.values(decoding.noted()),
        *RADIO.values(radio, partial=True),
        *WRITTEN.values(profile),
    )
    return await insert(connection, DeviceProfile, CREATE, tenant_id, *values)


async def read_profile(connection: Connection, profile_id: int) -> DeviceProfile | None:
    """One profile, the tenant's own or one that is offered to every tenant."""
    return await fetch_one(connection, DeviceProfile, READ, profile_id)


async def list_profiles(connection: Connection, *, after: int = 0, most: int = 100) -> list[DeviceProfile]:
    """Visible profiles by id, beyond `after`."""
    return await fetch_all(connection, DeviceProfile, LIST, after, most)


async def update_profile(
    connection: Connection,
    profile_id: int,
    change: Mapping[str, Any],
    radio: Mapping[str, Any] = AS_THE_NETWORK,
) -> DeviceProfile | None:
    """The profile after the change of columns in `WRITTEN` and `RADIO`; None when not theirs.

    `point_profile` changes the codec.
    """
    values = (*RADIO.changes(radio), *WRITTEN.changes(change))
    return await fetch_one(connection, DeviceProfile, UPDATE, profile_id, *values)


async def point_profile(connection: Connection, profile_id: int, decoding: Decoding) -> DeviceProfile | None:
    """The profile after its codec was changed, live within 5 s; None when it is not the tenant's own.

    Raises ForeignKeyViolationError for another tenant's version.
    """
    return await fetch_one(connection, DeviceProfile, POINT, profile_id, *DECODED.values(decoding.noted()))
