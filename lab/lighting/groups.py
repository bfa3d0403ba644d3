"""Multicast groups of an area: the cabinets that one gateway hears best and that listen at one data rate."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from core.runtime.postgres import Connection
from lab.device.application import Group
from lab.lighting.registered import RegisteredArea, RegisteredCabinet
from lab.radio.transmission import RX2_FREQUENCY
from registry.keys import KeyWrap, row_owner
from registry.multicast import create_group, set_members

# They were given the group's keys long ago.
ACKNOWLEDGE = "UPDATE multicast_member SET keys_given_at = now(), keys_acknowledged_at = now() WHERE group_id = $1"
# What a group has when nobody says otherwise.
USUAL_REPEATS = 2


@dataclass(frozen=True, slots=True)
class RegisteredGroup:
    """A group with its keys, and the cabinets that were given them."""

    given: Group
    cabinets: Sequence[RegisteredCabinet]


async def register_groups(connection: Connection, area: RegisteredArea, keys: KeyWrap) -> list[RegisteredGroup]:
    """Two of each gateway, in the caller's transaction; repetitions are what the API gives a group by itself."""
    members: dict[tuple[int, int], list[RegisteredCabinet]] = defaultdict(list)
    for one in area.cabinets:
        members[one.cabinet.home, one.cabinet.rx2_data_rate].append(one)
    made: list[RegisteredGroup] = []
    for (home, data_rate), cabinets in sorted(members.items()):
        name = f"{area.gateways[home].name} DR{data_rate}"
        group = RegisteredGroup(
            Group(
                *(_octets(f"{name} address", 4), _octets(f"{name} nwk", 16), _octets(f"{name} app", 16)),
                *(0, RX2_FREQUENCY, data_rate),
            ),
            cabinets,
        )
        sealed_for = UUID(bytes=_octets(f"{name} row", 16))
        values = {
            "name": name,
            "dev_addr": group.given.address,
            "nwk_s_key_wrapped": keys.wrap(
                group.given.nwk_s_key, row_owner("multicast_group", sealed_for, "nwk_s_key")
            ),
            "app_s_key_wrapped": keys.wrap(
                group.given.app_s_key, row_owner("multicast_group", sealed_for, "app_s_key")
            ),
            "kek_id": keys.kek_id,
            "sealed_for": sealed_for,
            "data_rate": data_rate,
            "frequency": RX2_FREQUENCY,
            "repeats": USUAL_REPEATS,
            "f_cnt": 0,
        }
        row = await create_group(connection, area.tenant_id, values)
        await set_members(connection, row.id, [one.plan.dev_eui for one in cabinets])
        await connection.execute(ACKNOWLEDGE, row.id)
        made.append(group)
    return made


def _octets(seed: str, length: int) -> bytes:
    return hashlib.sha256(seed.encode()).digest()[:length]
