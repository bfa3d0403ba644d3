"""Moves campaigns on: what is known of their targets, whether they may go on, and the frames whose turn it is."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

import structlog

from core.model.lighting import LampPlace, dusks_around
from core.model.region import region_of
from core.runtime.postgres import Connection, Pool
from lighting import campaign_store as store
from lighting import open_command_store, target_store
from lighting.campaign_store import Campaign
from lighting.campaigns import AROUND_DUSK, State, advance, out_before
from lighting.circuit_store import Circuit
from lighting.commands import RejectedLightingCommand
from lighting.compilers import SET_PROGRAM
from lighting.group_sending import USEFUL_FOR as GROUP_USEFUL_FOR
from lighting.group_sending import Group, encode_for_group, find_groups, has_room, lock_groups, share_airtime
from lighting.octets import DIM, OFF, ON, Asked, Octets
from lighting.pacing import EMERGENCY_SHARE, SHARE, PacedFrame, Pacer
from lighting.program_targets import RejectedProgram, advance_programs, send_to_target
from lighting.requests import EMERGENCY_PRIORITY, PRIORITY, LightingRequest, native_octets, request_command, send
from lighting.restoring import CHANGED, serving_circuit
from lighting.swept import Swept, alone
from lighting.target_store import WaitingTarget
from lorawan.instants import from_us, to_us
from registry.multicast import enqueue_multicast

# Of each gateway: more than a train of the shortest frames.
MOST_OF_A_TRAIN = 40
# By groups, before it is committed: nothing goes out until then.
MOST_AT_ONCE = 100
HOUR = timedelta(hours=1)
# A repetition waits for its turn at the gateway, for an hour where the gateway has used up its share.
USEFUL_FOR = timedelta(minutes=70)
DARKENING = frozenset({OFF, DIM})
SENDING = frozenset({State.CANARY, State.RUNNING})

log = structlog.get_logger()


class Turn(NamedTuple):
    """When a frame is to go out, and until when it may."""

    at: datetime
    out_before: datetime


async def advance_campaigns(pool: Pool, now: datetime) -> Swept:
    """One step for each campaign that goes on; replicas share the work by skipping what another has locked.

    Before that, one for each program that a campaign has sent: commands are moved on by their own sweep.
    """
    swept, after = await advance_programs(pool, now), 0
    await store.expire_drafts(pool, now)
    while True:
        async with pool.acquire() as connection, connection.transaction():
            campaign = await store.lock_next_going_on(connection, after)
            if campaign is None:
                return swept
            before, after = after, campaign.id
            with alone("campaign", campaign.id):
                async with connection.transaction():
                    if await _advance_one(connection, campaign, now, swept):
                        after = before


async def _advance_one(connection: Connection, campaign: Campaign, now: datetime, swept: Swept) -> bool:
    """Whether more of its groups can be commanded at once."""
    progress = await store.read_progress(connection, campaign.id)
    is_emergency = campaign.is_emergency
    state, halt = advance(State(campaign.state), progress, campaign.not_after, now, is_emergency=is_emergency)
    if state != campaign.state:
        await store.set_state(connection, campaign.id, state, halt)
        swept.outcomes.append(f"campaign_{state}")
        log.info("lighting_campaign", campaign=campaign.id, state=state, halted_for=halt)
    if state in SENDING and now < campaign.not_after:
        return await _release(connection, campaign, state, now, swept)
    return False


async def _release(connection: Connection, campaign: Campaign, state: State, now: datetime, swept: Swept) -> bool:
    neighbours = await store.read_neighbours(connection, campaign.id)
    pacer = Pacer(neighbours, EMERGENCY_SHARE if campaign.is_emergency else SHARE)
    pacer.restore(await target_store.used_since(connection, now - HOUR))
    waiting = await target_store.read_waiting(
        connection,
        campaign.id,
        canary_alone=state is State.CANARY,
        is_emergency=campaign.is_emergency,
        most=MOST_OF_A_TRAIN,
        busy=() if campaign.is_emergency else pacer.busy(to_us(now)),
    )
    waiting = {gateway: _away_from_dusk(campaign, of_gateway, now) for gateway, of_gateway in waiting.items()}
    targets = {target.asset_id: target for of_gateway in waiting.values() for target in of_gateway}
    if not targets:
        return False
    in_groups: set[int] = set()
    if state is State.RUNNING and campaign.action != SET_PROGRAM:
        in_groups, is_more = await _send_to_groups(connection, campaign, list(targets), pacer, now, swept)
        if is_more:
            return True
    frames = {
        gateway: [
            PacedFrame(target.asset_id, gateway, target.airtime_us)
            for target in of_gateway
            if target.asset_id not in in_groups
        ]
        for gateway, of_gateway in waiting.items()
    }
    # In the order of their ids, so that two campaigns with the same circuits never wait for each other.
    left_us = {gateway: of_gateway[0].gateway_us for gateway, of_gateway in waiting.items() if of_gateway}
    for frame, at_us in sorted(pacer.release(to_us(now), frames, left_us)):
        target = targets[frame.command]
        act = _command if target.command_id is None else _repeat
        act = _send_program if campaign.action == SET_PROGRAM else act
        turn = Turn(from_us(at_us), _out_before(campaign, target, now) or now)
        await act(connection, campaign, target, turn, now, swept)
    return False


async def _send_to_groups(
    connection: Connection, campaign: Campaign, asset_ids: Sequence[int], pacer: Pacer, now: datetime, swept: Swept
) -> tuple[set[int], bool]:
    """Those that were commanded by one frame to their multicast group, and whether other groups may follow.

    For the others their turn comes.
    """
    done: set[int] = set()
    await lock_groups(connection, asset_ids)
    for group in await find_groups(connection, campaign.id, asset_ids):
        try:
            async with connection.transaction():
                await _send_to_group(connection, campaign, group, pacer, now, swept)
        except (RejectedLightingCommand, LookupError) as refused:
            log.info("group_not_used", campaign=campaign.id, group=group.group_id, reason=str(refused))
        else:
            done.update(group.waiting)
        if len(done) >= MOST_AT_ONCE:
            return done, True
    return done, False


async def _send_to_group(
    connection: Connection, campaign: Campaign, group: Group, pacer: Pacer, now: datetime, swept: Swept
) -> None:
    """Command all circuits of a group by one message.

    Raises:
        RejectedLightingCommand: they are not alike, one may not be commanded so, or there is no time on air.
    """
    waiting = await target_store.read_waiting(
        connection,
        campaign.id,
        canary_alone=False,
        is_emergency=campaign.is_emergency,
        most=len(group.waiting),
        of=group.waiting,
    )
    targets = [target for of_gateway in waiting.values() for target in of_gateway]
    if len(_away_from_dusk(campaign, targets, now)) < len(targets):
        raise RejectedLightingCommand("le soleil se couche")
    asked = _request_of(campaign, "").asked_at(now)
    frame, circuits, octets = await encode_for_group(
        connection, group, campaign.action, asked, is_emergency=campaign.is_emergency
    )
    airtime_us = group.airtime_us(frame, _priority(campaign))
    if not has_room(pacer, waiting, airtime_us, now):
        raise RejectedLightingCommand("plus assez de temps d'antenne")
    acting = {target.asset_id: await _acting_for(connection, campaign, target.asset_id) for target in targets}
    message = await enqueue_multicast(
        connection,
        group.group_id,
        f_port=frame.f_port,
        payload=frame.payload,
        priority=_priority(campaign),
        not_after=min(now + GROUP_USEFUL_FOR, campaign.not_after),
        by_lighting=True,
    )
    if message is None:
        raise LookupError(f"multicast group {group.group_id}")
    for target in sorted(targets, key=lambda one: one.asset_id):
        request = _request_of(campaign, acting[target.asset_id])
        circuit = circuits[target.asset_id]
        made = await request_command(connection, circuit, request, octets[target.asset_id], now, message.id)
        await target_store.set_released(connection, campaign.id, target.asset_id, now, made.command.id)
        swept.outcomes.append("campaign_target_in_group")
    await share_airtime(connection, campaign.id, group.waiting, airtime_us)
    pacer.restore((gateway, to_us(now), airtime_us) for gateway in waiting)
    swept.slots.add(group.slot)


def _away_from_dusk(campaign: Campaign, targets: Iterable[WaitingTarget], now: datetime) -> list[WaitingTarget]:
    """Those to which a frame may go now: dusk comes to each place at its own time."""
    return [one for one in targets if _out_before(campaign, one, now) is not None]


def _out_before(campaign: Campaign, target: WaitingTarget, now: datetime) -> datetime | None:
    """Until when a frame that is released now may go out there; None: none may."""
    if campaign.is_emergency:
        return campaign.not_after
    hour = now.replace(minute=0, second=0, microsecond=0)
    return out_before(now, _dusks(_place_of(target), hour))


_dusks = lru_cache(4096)(dusks_around)


def _place_of(target: WaitingTarget) -> LampPlace:
    """Where a target stands, to some kilometres: less than a minute of dusk."""
    latitude, longitude = (None if one is None else round(one, 1) for one in (target.latitude, target.longitude))
    return LampPlace(latitude, longitude, region_of(target.department, target.timezone), None)


async def _acting_for(connection: Connection, campaign: Campaign, asset_id: int) -> str:
    """What is commanded is the author's still, or a grant covers it: empty, or in whose name.

    Raises:
        RejectedLightingCommand: neither, or somebody has asked for light there since.
    """
    acting = await target_store.acting_for(connection, asset_id, campaign.tenant_id)
    if acting is None:
        raise RejectedLightingCommand("ce circuit n'est plus dans l'inventaire de cette collectivité")
    if campaign.action != ON and await target_store.is_lit_by_others(connection, asset_id, campaign):
        raise RejectedLightingCommand("tout a été allumé là depuis la préparation de cette campagne")
    if campaign.action in DARKENING and await target_store.is_lit_by_hand(connection, asset_id, campaign):
        raise RejectedLightingCommand(store.LIT_SINCE)
    return acting


async def _send_program(
    connection: Connection, campaign: Campaign, target: WaitingTarget, turn: Turn, now: datetime, swept: Swept
) -> None:
    """What is in force now, and not what was when the campaign was prepared."""
    try:
        await _acting_for(connection, campaign, target.asset_id)
        out_before = min(turn.out_before, campaign.not_after)
        slot = await send_to_target(
            connection, campaign.id, target.asset_id, target.octets, turn.at, out_before, now
        )
    except (RejectedProgram, RejectedLightingCommand) as refused:
        await target_store.set_rejected(connection, campaign.id, target.asset_id, str(refused))
        swept.outcomes.append("campaign_target_rejected")
    else:
        swept.slots.add(slot)
        swept.outcomes.append("campaign_target_repeated" if target.attempts else "campaign_target_released")


async def _repeat(
    connection: Connection, campaign: Campaign, target: WaitingTarget, turn: Turn, _now: datetime, swept: Swept
) -> None:
    """The same command once more, unless it or what allowed it has ended since its repetition was due."""
    command_id = target.command_id or 0
    command = await open_command_store.lock_to_repeat(connection, command_id)
    octets = None if command is None else Octets.from_json(command.octets)
    is_allowed = await target_store.acting_for(connection, target.asset_id, campaign.tenant_id) is not None
    if command is None or octets is None or not is_allowed:
        await target_store.set_repeated(connection, campaign.id, target.asset_id, None)
        return
    frame = octets.frames[command.action]
    not_after = min(command.not_after, turn.out_before)
    row = await send(connection, command.device_id, frame, not_after, _priority(campaign), not_before=turn.at)
    await open_command_store.set_sent_again(connection, command_id, row.id, None)
    await target_store.set_repeated(connection, campaign.id, target.asset_id, turn.at)
    swept.slots.add(row.slot)
    swept.outcomes.append("campaign_target_repeated")


def _priority(campaign: Campaign) -> int:
    return EMERGENCY_PRIORITY if campaign.is_emergency else PRIORITY


async def _command(
    connection: Connection, campaign: Campaign, target: WaitingTarget, turn: Turn, now: datetime, swept: Swept
) -> None:
    try:
        acting = await _acting_for(connection, campaign, target.asset_id)
        request = replace(
            _request_of(campaign, acting),
            not_before=turn.at,
            out_before=turn.out_before,
            useful_for=min(_useful_for(turn, now), campaign.not_after - now),
        )
        circuit = await serving_circuit(connection, target.asset_id)
        octets = await _octets(connection, campaign, target, circuit, request.asked_at(now))
        async with connection.transaction():
            requested = await request_command(connection, circuit, request, octets, now)
    except (RejectedLightingCommand, LookupError) as refused:
        await target_store.set_rejected(connection, campaign.id, target.asset_id, str(refused))
        swept.outcomes.append("campaign_target_rejected")
    else:
        await target_store.set_released(connection, campaign.id, target.asset_id, turn.at, requested.command.id)
        swept.slots.add(requested.slot)
        swept.outcomes.append("campaign_target_released")


def _useful_for(turn: Turn, now: datetime) -> timedelta:
    """Of a command: what dusk keeps back has its turn again when that is over."""
    return USEFUL_FOR if now + USEFUL_FOR < turn.out_before else USEFUL_FOR + 2 * AROUND_DUSK


def _request_of(campaign: Campaign, acting: str) -> LightingRequest:
    """As the history of the circuit shows it: of somebody else's with the tenant of who asked."""
    who = campaign.approved_by or campaign.author
    return LightingRequest(
        campaign.action,
        f"{who} ({acting})" if acting else who,
        f"{campaign.reason} (campagne {campaign.id})",
        campaign.off_until,
        campaign.level,
        owes_light=campaign.is_emergency,
        priority=_priority(campaign),
    )


async def _octets(
    connection: Connection, campaign: Campaign, target: WaitingTarget, circuit: Circuit, asked: Asked
) -> Octets:
    """What the circuit's device is to be sent: it may be another than the one for which octets were kept.

    Raises:
        RejectedLightingCommand: nobody has encoded anything for it.
    """
    if circuit.device_id is not None and circuit.codec_version_id is None:
        return native_octets(circuit.codec, circuit.output, asked, circuit.reported)
    kept = Octets.from_json(target.octets)
    device_id = circuit.device_id or 0
    if kept is None or not await target_store.is_served_since(
        connection, target.asset_id, device_id, campaign.created_at
    ):
        raise RejectedLightingCommand(CHANGED)
    return kept
