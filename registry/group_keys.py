"""What a clock of the open profile is sent to join its permanent multicast group (docs/profil-horloge.md).

No row holds these octets: the message is made of the group's sealed keys when it is framed.
"""

from dataclasses import dataclass
from uuid import UUID

from core.runtime.postgres import Connection, Pool
from registry.keys import KeyWrap, row_owner
from registry.rows import fetch_one

GROUP_PORT = 65
_FREQUENCY_STEP_HZ = 100
_READ = """
SELECT dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, sealed_for, f_cnt, frequency, data_rate
FROM multicast_group WHERE id = $1
"""


@dataclass(frozen=True, slots=True)
class _SealedGroup:
    dev_addr: bytes
    nwk_s_key_wrapped: bytes
    app_s_key_wrapped: bytes
    sealed_for: UUID
    f_cnt: int
    frequency: int
    data_rate: int


async def group_message(connection: Connection | Pool, keys: KeyWrap, group_id: int) -> bytes | None:
    """The octets that give a clock this group; None when it is gone.

    Raises:
        WrongKek: its keys were sealed under another key.
    """
    group = await fetch_one(connection, _SealedGroup, _READ, group_id)
    if group is None:
        return None
    owner = "multicast_group"
    return (
        b"\x00"
        + group.dev_addr
        + keys.unwrap(group.nwk_s_key_wrapped, row_owner(owner, group.sealed_for, "nwk_s_key"))
        + keys.unwrap(group.app_s_key_wrapped, row_owner(owner, group.sealed_for, "app_s_key"))
        + group.f_cnt.to_bytes(4)
        + (group.frequency // _FREQUENCY_STEP_HZ).to_bytes(3)
        + bytes((group.data_rate,))
    )
