"""One frame for a whole multicast group, where all of its members are to do the same.

A frame reaches every member. So a group is used only where each device in it serves circuits of this very campaign
and is to be sent the same octets; and, emergencies apart, where its devices report by themselves: a question to
each of them would take longer than the frames that are saved. What is not proved in time is repeated by unicast.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.runtime.postgres import Connection
from decoders.codec import EncodedCommand
from decoders.territoire.clock import CODEC
from lighting.campaign_plan import PlannedGroup, frame_airtime_us
from lighting.circuit_store import Circuit, find_circuits_of
from lighting.commands import RejectedLightingCommand
from lighting.octets import Asked, Octets
from lighting.pacing import Pacer
from lighting.requests import EMERGENCY_PRIORITY, native_octets
from lorawan.instants import to_us
from lorawan.multicast import repeats_of
from registry.rows import fetch_all

CLOCK = CODEC.name
# A frame to a group that waits for longer could undo what somebody has asked for since.
USEFUL_FOR = timedelta(minutes=2)

# Groups with a member whose turn could come, all of whose members serve circuits of the campaign: those that wait,
# and those that have done it already, are not changed by doing it again, and were commanded by nobody since. A
# clock of the open profile is counted on once it has acknowledged the group's keys; until then it is sent its own.
# No other network's server sends to it. Before a campaign goes on, those of $4 count as if all went well.
FIND_GROUPS = """
WITH served AS (
    SELECT DISTINCT m.group_id, d.lns_source_id, coalesce(c.id, a.id) AS asset_id,
           p.codec <> $3 OR m.keys_acknowledged_at IS NOT NULL AS has_keys
    FROM multicast_member m
    JOIN device d ON d.id = m.device_id
    JOIN device_profile p ON p.id = d.device_profile_id
    LEFT JOIN assignment s ON s.device_id = m.device_id AND s.during @> now()
    LEFT JOIN asset a ON a.id = s.asset_id AND a.archived_at IS NULL
    LEFT JOIN asset c ON c.parent_id = a.id AND a.kind = 'lighting_cabinet' AND c.kind = 'lighting_circuit'
                     AND c.archived_at IS NULL
    WHERE m.group_id IN (
        SELECT o.group_id FROM assignment g JOIN multicast_member o ON o.device_id = g.device_id
        WHERE g.during @> now() AND g.asset_id IN (
            SELECT unnest($2::int[]) UNION SELECT parent_id FROM asset WHERE id = ANY($2)))
)
SELECT v.group_id, g.slot, g.repeats, g.data_rate,
       array_agg(v.asset_id ORDER BY v.asset_id) AS asset_ids,
       array_agg(v.asset_id ORDER BY v.asset_id) FILTER (WHERE t.released_at IS NULL AND v.has_keys) AS waiting
FROM served v
JOIN multicast_group g ON g.id = v.group_id
LEFT JOIN lighting_campaign_target t ON t.campaign_id = $1 AND t.asset_id = v.asset_id AND t.rejected IS NULL
LEFT JOIN lighting_command k ON k.id = t.command_id
GROUP BY v.group_id, g.slot, g.repeats, g.data_rate
HAVING bool_and((t.asset_id IS NOT NULL OR v.asset_id = ANY($4::int[])) AND v.lns_source_id IS NULL
                AND (t.released_at IS NULL OR v.asset_id = ANY($4) OR k.state IN ('applied', 'confirmed')
                     AND NOT EXISTS (
                         SELECT FROM lighting_command n WHERE n.asset_id = k.asset_id AND n.id > k.id)))
   AND count(*) FILTER (WHERE t.released_at IS NULL AND v.has_keys) > 1
ORDER BY v.group_id
"""
# Who joins one of these groups waits until the transaction ends (migration 0101). Who leaves one is a target all
# the same, and hears the frame still.
LOCK_GROUPS = """
SELECT pg_advisory_xact_lock(hashtext('multicast_group'), group_id)
FROM (SELECT DISTINCT o.group_id FROM assignment g JOIN multicast_member o ON o.device_id = g.device_id
      WHERE g.during @> now() AND g.asset_id IN (
          SELECT unnest($1::int[]) UNION SELECT parent_id FROM asset WHERE id = ANY($1))
      ORDER BY o.group_id) AS every
"""
# What a group's frames take is shared by those that it saves a frame each.
SHARE_AIRTIME = """
UPDATE lighting_campaign_target t SET airtime_us = greatest(1, $3::int / o.members)
FROM (SELECT gateway, count(*)::int AS members FROM lighting_campaign_target
      WHERE campaign_id = $1 AND asset_id = ANY($2::int[]) GROUP BY gateway) o
WHERE t.campaign_id = $1 AND t.asset_id = ANY($2::int[]) AND t.gateway = o.gateway
"""


@dataclass(frozen=True, slots=True)
class Group:
    """A multicast group, the circuits that its members serve, and those of them that wait."""

    group_id: int
    slot: int
    repeats: int
    data_rate: int
    asset_ids: tuple[int, ...]
    waiting: tuple[int, ...]

    def airtime_us(self, frame: EncodedCommand, priority: int) -> int:
        """How long a gateway transmits a frame of this priority to it, with its repetitions."""
        return repeats_of(self.repeats, priority) * frame_airtime_us(frame, self.data_rate)


async def lock_groups(connection: Connection, asset_ids: Collection[int]) -> None:
    """Nobody joins the groups of these circuits until the transaction ends."""
    await connection.execute(LOCK_GROUPS, list(asset_ids))


async def find_groups(
    connection: Connection, campaign_id: int, asset_ids: Collection[int], planned: Collection[int] = ()
) -> list[Group]:
    """The groups that could carry what a campaign has for these circuits; no two with a circuit in common.

    `planned`: before it goes on, its circuits.
    """
    found: list[Group] = []
    covered: set[int] = set()
    rows = await fetch_all(connection, Group, FIND_GROUPS, campaign_id, list(asset_ids), CLOCK, list(planned))
    for group in rows:
        if covered.isdisjoint(group.asset_ids):
            found.append(group)
            covered.update(group.asset_ids)
    return found


async def encode_for_group(
    connection: Connection, group: Group, action: str, asked: Asked, *, is_emergency: bool
) -> tuple[EncodedCommand, dict[int, Circuit], dict[int, Octets]]:
    """The frame for a group, and of each of its circuits what it would be sent by itself.

    Raises:
        RejectedLightingCommand: they are not alike.
    """
    circuits = {one.asset_id: one for one in await find_circuits_of(connection, group.asset_ids)}
    octets = {
        asset_id: native_octets(one.codec, one.output, asked, one.reported)
        for asset_id, one in circuits.items()
        if one.codec_version_id is None
    }
    frame = common_frame(octets.values(), action, is_emergency=is_emergency)
    if frame is None or octets.keys() != set(group.asset_ids):
        raise RejectedLightingCommand("ses membres ne reçoivent pas la même chose")
    return frame, circuits, octets


async def plan_groups(
    connection: Connection,
    campaign_id: int | None,
    waiting: Collection[int],
    planned: Collection[int],
    action: str,
    asked: Asked,
    *,
    priority: int,
) -> list[PlannedGroup]:
    """The groups that are to carry a campaign, should nobody change them before."""
    is_emergency = priority == EMERGENCY_PRIORITY
    found: list[PlannedGroup] = []
    for group in await find_groups(connection, campaign_id or 0, waiting, planned):
        try:
            frame, _, _ = await encode_for_group(connection, group, action, asked, is_emergency=is_emergency)
        except RejectedLightingCommand:
            continue
        found.append(PlannedGroup(frozenset(group.waiting), group.airtime_us(frame, priority)))
    return found


def common_frame(octets: Iterable[Octets], action: str, *, is_emergency: bool) -> EncodedCommand | None:
    """The one frame that all circuits of a group are to be sent; None: they differ, or would have to be asked.

    The number by which a clock repeats an override is the same for all that are encoded at one instant.
    """
    known = list(octets)
    frames = {one.frames.get(action) for one in known}
    if len(frames) != 1 or not all(one.ends_itself or not one.asks or is_emergency for one in known):
        return None
    return frames.pop()


def has_room(pacer: Pacer, gateways: Collection[str], airtime_us: int, now: datetime) -> bool:
    """Whether each of these gateways has so much left of its share of the hour."""
    return all(pacer.budget(gateway, to_us(now)).left_us >= airtime_us for gateway in gateways)


async def share_airtime(
    connection: Connection, campaign_id: int, asset_ids: Sequence[int], airtime_us: int
) -> None:
    """Count a group's frames with the targets that they stand for."""
    await connection.execute(SHARE_AIRTIME, campaign_id, list(asset_ids), airtime_us)
