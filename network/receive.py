"""Decides what becomes of the receptions of one data frame: state in, outcome out. Pure."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import Struct

from core.messages.frames import GatewayFrame
from core.messages.uplinks import Reception, Uplink
from core.model.identities import uplink_identity
from lorawan.commands import DownlinkCommand, encode_commands, parse_uplink_commands
from lorawan.commands.dev_status import DevStatusAns
from lorawan.commands.device_time import DeviceTimeAns, DeviceTimeReq
from lorawan.commands.link_check import MAX_MARGIN_DB, LinkCheckAns, LinkCheckReq
from lorawan.frame import MAX_F_OPTS, MalformedFrame, UplinkFrame
from lorawan.mac_state import MacPolicy, MacState, is_quiet
from lorawan.negotiation import AcceptedUplink, Learned, ask, handle_uplink
from lorawan.regions import EU868, REQUIRED_SNR, Lora
from lorawan.rejections import RejectReason
from lorawan.rx_delay import STILL_FAR_US, Distance, nearest_us
from lorawan.session import Accepted, Rejected, Retransmission, accept
from lorawan.windows import latest_useful_us
from network.deduplication import Group, best_receptions
from network.sessions import HeldSession, Progress, SessionReception

NO_F_PORT = -1
_FREQUENCIES = frozenset(channel.frequency for channel in EU868.uplink_channels)
_DATA_RATES = frozenset(
    (rate.spreading_factor, rate.bandwidth) if isinstance(rate, Lora) else (0, 0) for rate in EU868.data_rates
)


class Opportunity(Struct, frozen=True):
    """The windows that an uplink opens, and what it asks for in them."""

    session: HeldSession
    receptions: tuple[SessionReception, ...]
    uplink_at_us: int
    acknowledge: bool  # The uplink was confirmed.
    commands: bytes  # Answers to its MAC commands, and requests of ours.
    must_answer: bool  # Also without a row: for an acknowledgement, ADRACKReq or MAC commands.


class MacNews(Struct, frozen=True):
    """What an uplink changed between the device's MAC layer and ours."""

    is_worth_saving: bool
    status: DevStatusAns | None
    rejected: tuple[int, ...]  # CIDs.


class Received(Struct, frozen=True):
    """An uplink to publish. `progress` is None when the session stays as it is (a late duplicate)."""

    session: HeldSession
    uplink: Uplink
    outcome: str
    progress: Progress | None
    opportunity: Opportunity | None
    device_acknowledged: bool = False
    first_of_session: bool = False
    missed: int = 0  # Frames between the last one and this one that were not received, by FCnt.
    is_off_plan: bool = False  # Frequency or data rate not in the plan (docs/protocols.md, row 15).
    mac: MacNews | None = None  # None: no MAC command was answered or asked, as with nearly every uplink.


class RejectedFrame(Struct, frozen=True, gc=False):
    """A frame of which nothing is published, and the reason."""

    reason: RejectReason
    dev_addr: bytes = b""
    device_id: int = 0  # 0: the device is not known.


class Candidate(NamedTuple):
    """A session of a frame's DevAddr, how far it has come, and what is known of its device."""

    session: HeldSession
    progress: Progress
    is_enabled: bool
    policy: MacPolicy


def read_frame(phy_payload: bytes) -> UplinkFrame | RejectedFrame:
    """The data frame in these octets; its DevAddr names the sessions to try."""
    try:
        return UplinkFrame.from_bytes(phy_payload)
    except MalformedFrame:
        return RejectedFrame(RejectReason.MALFORMED)


def receive_data(
    group: Group, frame: UplinkFrame, candidates: Sequence[Candidate], now_us: int
) -> Received | RejectedFrame:
    """Judge a data frame: the first session of its DevAddr whose MIC fits has it (docs/protocols.md, row 4).

    Args:
        group: the receptions within one window.
        frame: their PHYPayload.
        candidates: the sessions of its DevAddr, with the progress that earlier frames of the batch have made.
        now_us: a device whose windows have passed by then is sent no MAC requests.
    """
    refused: RejectedFrame | None = None
    time_us = group.time_us
    for held, progress, is_enabled, policy in candidates:
        outcome = accept(progress.state, held.cipher, frame, group.phy_payload, time_us)
        if isinstance(outcome, Rejected):
            if outcome.reason is not RejectReason.MIC:
                refused = RejectedFrame(outcome.reason, frame.dev_addr, held.device_id)
            continue
        if not is_enabled:
            return RejectedFrame(RejectReason.DISABLED, frame.dev_addr, held.device_id)
        copies = best_receptions(group.receptions)
        if isinstance(outcome, Accepted):
            return _new(group, held, progress, copies, outcome, frame, policy, now_us)
        return _late(group, held, progress, copies, outcome)
    reason = RejectReason.MIC if candidates else RejectReason.UNKNOWN_DEV_ADDR
    return refused or RejectedFrame(reason, frame.dev_addr, _only_device(candidates))


def _only_device(candidates: Iterable[Candidate]) -> int:
    """The one device with sessions of a DevAddr; 0 when there is none, or several."""
    device_ids = {candidate.session.device_id for candidate in candidates}
    return device_ids.pop() if len(device_ids) == 1 else 0


def _new(
    group: Group,
    held: HeldSession,
    before: Progress,
    receptions: list[GatewayFrame],
    accepted: Accepted,
    frame: UplinkFrame,
    policy: MacPolicy,
    now_us: int,
) -> Received:
    first, time_us = group.first, group.time_us
    f_port = NO_F_PORT if accepted.f_port is None else accepted.f_port
    payload = b"" if f_port == 0 else accepted.payload  # MAC commands are the network's, not the application's.
    uplink_id = uplink_identity(held.device_id, held.id, accepted.f_cnt, f_port, payload)
    heard_by = tuple([session_reception(copy) for copy in receptions])
    f_ctrl = frame.f_ctrl
    session, mac, commands, waits, news = accepted.session, before.mac, b"", False, None
    is_talk = accepted.commands or f_ctrl.adr or _is_far(receptions)
    if is_talk or not is_quiet(mac, session, policy, time_us):
        learned, mac, commands = _negotiate(before, accepted, frame, receptions, group, policy, now_us)
        session, waits = learned.session, learned.must_answer
        news = MacNews(
            mac.differs_from(before.mac) or session is not accepted.session, learned.status, learned.rejected
        )
    progress = Progress(session, mac, uplink_id, heard_by)
    return Received(
        session=held,
        uplink=_uplink(group, held, receptions, uplink_id, accepted.f_cnt, f_port, payload, accepted.confirmed),
        outcome="restarted" if accepted.counter_restarted else "accepted",
        progress=progress,
        opportunity=Opportunity(
            held,
            heard_by,
            group.live_at_us,
            accepted.confirmed,
            commands,
            must_answer=accepted.confirmed or f_ctrl.adr_ack_req or bool(commands) or waits,
        ),
        device_acknowledged=f_ctrl.ack,
        first_of_session=not before.state.started,
        missed=accepted.missed,
        is_off_plan=first.frequency not in _FREQUENCIES
        or (first.spreading_factor, first.bandwidth) not in _DATA_RATES,
        mac=news,
    )


def _negotiate(
    before: Progress,
    accepted: Accepted,
    frame: UplinkFrame,
    receptions: list[GatewayFrame],
    group: Group,
    policy: MacPolicy,
    now_us: int,
) -> tuple[Learned, MacState, bytes]:
    """What the uplink says about the device's MAC layer, the state to save, and the commands for its answer."""
    first, time_us = group.first, group.time_us
    uplink = AcceptedUplink(
        time_us,
        accepted.commands,
        frame.f_ctrl.adr,
        frame.f_ctrl.adr_ack_req,
        policy.region.data_rate_of(first.spreading_factor, first.bandwidth),
        max(copy.snr for copy in receptions),
        0 if accepted.counter_restarted else accepted.missed,
        nearest_gateway_us(receptions),
    )
    answers = _mac_answers(accepted.commands, receptions, time_us)
    learned = handle_uplink(before.mac, accepted.session, uplink, policy)
    if now_us > latest_useful_us(group.live_at_us, learned.session.rx1_delay):
        return learned, learned.state, answers  # A backlog is stored and not answered: nothing is asked.
    mac, requests = ask(learned.state, learned.session, uplink, policy)
    return learned, mac, answers + requests


def _late(
    group: Group, held: HeldSession, progress: Progress, receptions: list[GatewayFrame], again: Retransmission
) -> Received:
    """The last uplink again: its receptions are added; a device that missed its acknowledgement gets another."""
    last = progress.state.last_uplink
    time_us = group.time_us if last is None else last.time_us
    uplink = _uplink(
        group,
        held,
        receptions,
        progress.uplink_id,
        again.f_cnt,
        NO_F_PORT,
        b"",
        again.confirmed,
        late_of_us=time_us,
    )
    heard_by = tuple([session_reception(copy) for copy in receptions])
    opportunity = Opportunity(held, heard_by, group.live_at_us, True, b"", must_answer=True)
    is_copy = group.time_us - time_us < progress.state.rx1_delay * 1_000_000
    return Received(
        session=held,
        uplink=uplink,
        outcome="late_copy" if is_copy else "retransmission",
        progress=None,
        opportunity=opportunity if again.acknowledge else None,
    )


def _uplink(
    group: Group,
    held: HeldSession,
    receptions: list[GatewayFrame],
    uplink_id: bytes,
    f_cnt: int,
    f_port: int,
    payload: bytes,
    confirmed: bool,
    *,
    late_of_us: int | None = None,
) -> Uplink:
    best = receptions[0] if len(receptions) == 1 else max(receptions, key=lambda copy: copy.snr)
    return Uplink(
        uplink_id=uplink_id,
        device_id=held.device_id,
        session_id=held.id,
        f_cnt=f_cnt,
        f_port=f_port,
        payload=payload,
        confirmed=confirmed,
        time_us=group.time_us if late_of_us is None else late_of_us,
        received_at_us=group.received_at_us,
        frequency=best.frequency,
        spreading_factor=best.spreading_factor,
        bandwidth=best.bandwidth,
        late=late_of_us is not None,
        receptions=[Reception(copy.gateway_id, copy.antenna, copy.rssi, copy.snr) for copy in receptions],
        trace_id=group.first.trace_id,
    )


def nearest_gateway_us(receptions: Iterable[GatewayFrame]) -> int:
    """The round trip to the nearest of the gateways that receive a device well; 0: not known."""
    return nearest_us(
        Distance(copy.snr - REQUIRED_SNR.get(copy.spreading_factor, 0.0), copy.round_trip_us)
        for copy in receptions
    )


def _is_far(receptions: Iterable[GatewayFrame]) -> bool:
    """Whether the way to a gateway may be a reason to wait longer: it is not with nearly every uplink."""
    return any(copy.round_trip_us > STILL_FAR_US for copy in receptions)


def session_reception(reception: GatewayFrame) -> SessionReception:
    """What a session keeps of a reception."""
    return SessionReception(
        reception.gateway_id,
        reception.context,
        reception.received_at_us,
        reception.frequency,
        reception.spreading_factor,
        reception.bandwidth,
        reception.rssi,
        reception.snr,
        reception.round_trip_us,
    )


def _mac_answers(commands: bytes, receptions: list[GatewayFrame], time_us: int) -> bytes:
    """FOpts that answer LinkCheckReq and DeviceTimeReq (docs/protocols.md, rows 37 and 42)."""
    if not commands:
        return b""
    answers: list[DownlinkCommand] = []
    for command in parse_uplink_commands(commands).commands:
        if isinstance(command, LinkCheckReq):
            answers.append(_link_check(receptions))
        elif isinstance(command, DeviceTimeReq):
            answers.append(DeviceTimeAns.at(time_us))
    octets = encode_commands(answers)
    return octets if len(octets) <= MAX_F_OPTS else b""  # A device that asks more in one frame asks again.


def _link_check(receptions: list[GatewayFrame]) -> LinkCheckAns:
    margins = [copy.snr - REQUIRED_SNR.get(copy.spreading_factor, 0.0) for copy in receptions]
    margin = min(max(0, math.floor(max(margins))), MAX_MARGIN_DB)
    return LinkCheckAns(margin, min(len({copy.gateway_id for copy in receptions}), 255))
