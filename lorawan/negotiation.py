"""MAC command state of a session: reads answers, decides requests (docs/protocols.md, "Matrix", rows 30 to 41).

State and uplink come in, state and octets go out. What is asked is noted as asked before anybody knows whether a
gateway had room for it: a request that never went out is one without an answer, and is made again.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from lorawan.adr import FASTEST_DATA_RATE, Limits, LinkSettings, Sample, decide, remember
from lorawan.commands import (
    DownlinkCommand,
    UplinkCommand,
    encode_commands,
    parse_downlink_commands,
    parse_uplink_commands,
)
from lorawan.commands.dev_status import DevStatusAns, DevStatusReq
from lorawan.commands.dl_channel import DlChannelAns
from lorawan.commands.duty_cycle import DutyCycleReq
from lorawan.commands.link_adr import LinkAdrAns, LinkAdrReq
from lorawan.commands.new_channel import NewChannelAns, NewChannelReq
from lorawan.commands.rx_param_setup import RxParamSetupAns, RxParamSetupReq
from lorawan.commands.rx_timing_setup import RxTimingSetupAns, RxTimingSetupReq
from lorawan.mac_state import (
    LIMITS_HOLD_US,
    UNKNOWN_DATA_RATE,
    Asked,
    MacPolicy,
    MacState,
    all_channels,
    default_channels,
    rx_params_of,
)
from lorawan.rx_delay import far_until_us
from lorawan.session import Session

MOST_NEW_CHANNELS = 3  # Per frame (row 40): their answers must fit into FOpts, too.
# The device repeats these until it has received a downlink (row 39).
_STICKY = (RxParamSetupAns, RxTimingSetupAns, DlChannelAns)


class AcceptedUplink(Struct, frozen=True):
    """What an accepted uplink says about the link."""

    at_us: int
    commands: bytes  # From FOpts or FPort 0.
    adr: bool
    adr_ack_req: bool
    data_rate: int | None  # None: not in the plan.
    snr: float  # dB, at the best gateway.
    missed: int  # How many uplinks before it were not received.
    round_trip_us: int = 0  # To the nearest gateway that it may be answered through; 0: not known.


class Learned(Struct, frozen=True):
    """What follows from an uplink; both states are to be saved with it."""

    state: MacState
    session: Session
    status: DevStatusAns | None
    must_answer: bool
    """The device waits for a downlink, whatever is in it."""
    rejected: tuple[int, ...]
    """The CIDs of what the device rejected, or accepted and did not follow."""


class _Negotiation:
    """The state while one uplink is worked through."""

    def __init__(self, state: MacState, session: Session, uplink: AcceptedUplink, policy: MacPolicy) -> None:
        self.state: MacState = state
        self.session: Session = session
        self.uplink = uplink
        self.policy = policy
        self.status: DevStatusAns | None = None
        self.refused: list[int] = []

    def settle(self, asked: Asked, answers: Sequence[UplinkCommand]) -> None:
        """Follow the answers to what was asked, or their absence."""
        now_us = self.uplink.at_us
        if not answers and not self._shows(asked):
            self.state = self.state.with_asked([asked.unanswered(now_us)])
            return
        requests = parse_downlink_commands(asked.requests).commands
        # Each is applied, also after a rejection: NewChannelReq may come three at a time.
        agreed = [self._apply(request, answer) for request, answer in zip(requests, answers, strict=False)]
        if all(agreed):
            self.state = self.state.with_asked([self._accepted(asked, requests)])
        else:
            self.refused.append(asked.cid)
            self.state = self.state.with_asked([asked.after_rejection(now_us)])

    def _accepted(self, asked: Asked, requests: Sequence[DownlinkCommand]) -> Asked:
        """Settled; a data rate only once the device is heard at it, since some accept and never move."""
        last = requests[-1] if requests else None
        if not isinstance(last, LinkAdrReq) or not self.uplink.adr or self.uplink.data_rate == last.data_rate:
            return Asked(asked.cid)
        return asked.agreed(last.data_rate)

    def check_move(self, asked: Asked) -> None:
        """Whether the device has moved to the data rate that it agreed to with an earlier uplink."""
        if self.uplink.data_rate == asked.agreed_data_rate or not self.uplink.adr:
            self.state = self.state.with_asked([Asked(asked.cid)])
        else:
            self.refused.append(asked.cid)
            self.state = self.state.with_asked([asked.after_rejection(self.uplink.at_us)])

    def _shows(self, asked: Asked) -> bool:
        """Whether the uplink's new data rate shows that a LinkADRReq was followed whose answer was lost."""
        if asked.cid != LinkAdrReq.CID:
            return False
        request = LinkAdrReq.from_bytes(asked.requests)
        if not self.uplink.data_rate == request.data_rate != self.state.data_rate:
            return False
        self._follow_link(request)
        return True

    def _apply(self, request: DownlinkCommand, answer: UplinkCommand) -> bool:
        """Whether the device agreed; the states follow it."""
        match request, answer:
            case LinkAdrReq(), LinkAdrAns():
                return self._apply_link_adr(request, answer)
            case NewChannelReq(), NewChannelAns():
                if answer.accepted:
                    self.state = replace(self.state, channels=self.state.channels | 1 << request.ch_index)
                return answer.accepted
            case RxParamSetupReq(), RxParamSetupAns():
                if answer.accepted:
                    self.session = replace(
                        self.session,
                        rx1_dr_offset=request.rx1_dr_offset,
                        rx2_dr=request.rx2_dr,
                        rx2_frequency=request.rx2_frequency,
                    )
                return answer.accepted
            case RxTimingSetupReq(), _:
                self.session = replace(self.session, rx1_delay=request.rx1_delay)
            case DutyCycleReq(), _:
                self.state = replace(self.state, max_duty_cycle=request.max_d_cycle)
            case _:
                pass  # DevStatusReq: its answer is taken whatever asked for it.
        return True

    def _apply_link_adr(self, request: LinkAdrReq, answer: LinkAdrAns) -> bool:
        if answer.accepted:
            self._follow_link(request)
            return True
        if answer.channel_mask_ack and not self.uplink.adr:
            return True  # Row 34: who decides for itself took the channels, and that is all it was asked.
        limits = self.state.limits_at(self.uplink.at_us)
        if not answer.power_ack:
            limits = _without_power(limits, request.tx_power)
        if not answer.data_rate_ack and request.data_rate >= self.state.data_rate:
            limits = replace(limits, max_data_rate=max(0, request.data_rate - 1))
        if not answer.channel_mask_ack:
            # It has lost channels that it once had, or never had them: they are created again.
            self.state = replace(self.state, channels=self.state.channels & default_channels(self.policy.region))
        self.state = replace(self.state, limits=limits, limits_until_us=self.uplink.at_us + LIMITS_HOLD_US)
        return False

    def _follow_link(self, request: LinkAdrReq) -> None:
        changed = (self.state.tx_power, self.state.nb_trans) != (request.tx_power, request.nb_trans)
        history = () if changed else self.state.history
        self.state = replace(self.state, tx_power=request.tx_power, nb_trans=request.nb_trans, history=history)

    def record_status(self, answer: DevStatusAns) -> None:
        """Battery and margin, asked for or not."""
        self.status = answer
        self.state = replace(self.state, status_due_us=self.uplink.at_us + self.policy.status_every_us)

    def record_round_trip(self) -> None:
        """Record whether the gateways that receive it are far away."""
        until_us = far_until_us(self.state.far_until_us, self.uplink.round_trip_us, self.uplink.at_us)
        if until_us != self.state.far_until_us:
            self.state = replace(self.state, far_until_us=until_us)

    def record_link(self) -> None:
        """One more sample for ADR, at the data rate that the device speaks at."""
        uplink, state = self.uplink, self.state
        if not self.policy.adr or not uplink.adr or uplink.data_rate is None:
            if state.adr:
                self.state = replace(state, data_rate=UNKNOWN_DATA_RATE, history=())
            return
        if uplink.data_rate != state.data_rate:
            # A device that slows down by itself has first gone back to full power (section 4.3.1.1).
            slowed = uplink.data_rate < state.data_rate
            state = replace(
                state,
                data_rate=uplink.data_rate,
                history=(),
                tx_power=0 if slowed else state.tx_power,
                nb_trans=1 if slowed else state.nb_trans,
            )
        self.state = replace(state, history=remember(state.history, Sample(uplink.snr, uplink.missed)))


def handle_uplink(state: MacState, session: Session, uplink: AcceptedUplink, policy: MacPolicy) -> Learned:
    """What an accepted uplink shows: answers, missing answers, and how well it was received."""
    commands = parse_uplink_commands(uplink.commands).commands if uplink.commands else ()
    hearing = _Negotiation(state, session, uplink, policy)
    for asked in state.asked:
        if asked.requests:
            hearing.settle(asked, [command for command in commands if asked.cid == command.CID])
        elif asked.agreed_data_rate != UNKNOWN_DATA_RATE:
            hearing.check_move(asked)
    for command in commands:
        if isinstance(command, DevStatusAns):
            hearing.record_status(command)
    hearing.record_link()
    hearing.record_round_trip()
    return Learned(
        hearing.state,
        hearing.session,
        hearing.status,
        any(isinstance(command, _STICKY) for command in commands),
        tuple(hearing.refused),
    )


def ask(state: MacState, session: Session, uplink: AcceptedUplink, policy: MacPolicy) -> tuple[MacState, bytes]:
    """The requests for the downlink that answers this uplink, and the state in which they are asked.

    The states are those of `handle_uplink`. Requests of more than 15 octets need a frame of their own (row 30).
    """
    asked: list[Asked] = []
    for wanted in (_rx_timing, _rx_params, _duty_cycle, _channels, _link, _status):
        requests = wanted(state, session, uplink, policy)
        if not requests or _is_beside_new_channels(requests, asked):
            continue
        entry = state.asked_for(requests[0].CID)
        if entry.not_before_us <= uplink.at_us:
            asked.append(entry.again(encode_commands(requests)))
    return state.with_asked(asked) if asked else state, b"".join(entry.requests for entry in asked)


def _is_beside_new_channels(requests: Sequence[DownlinkCommand], asked: Sequence[Asked]) -> bool:
    """A mask of channels that are only being created would be rejected (row 40)."""
    return requests[0].CID == LinkAdrReq.CID and any(entry.cid == NewChannelReq.CID for entry in asked)


def _rx_timing(
    state: MacState, session: Session, uplink: AcceptedUplink, policy: MacPolicy
) -> Sequence[DownlinkCommand]:
    wanted = policy.rx1_delay_of(state, uplink.at_us)
    return [] if session.rx1_delay == wanted else [RxTimingSetupReq(wanted)]


def _rx_params(
    _state: MacState, session: Session, _uplink: AcceptedUplink, policy: MacPolicy
) -> Sequence[DownlinkCommand]:
    wanted = policy.rx_params
    return [] if wanted is None or wanted == rx_params_of(session) else [wanted]


def _duty_cycle(
    state: MacState, _session: Session, _uplink: AcceptedUplink, policy: MacPolicy
) -> Sequence[DownlinkCommand]:
    return [] if state.max_duty_cycle == policy.max_duty_cycle else [DutyCycleReq(policy.max_duty_cycle)]


def _channels(
    state: MacState, _session: Session, _uplink: AcceptedUplink, policy: MacPolicy
) -> Sequence[DownlinkCommand]:
    missing = all_channels(policy.region) & ~state.channels
    return [
        NewChannelReq(index, channel.frequency, channel.min_data_rate, channel.max_data_rate)
        for index, channel in enumerate(policy.region.uplink_channels)
        if missing >> index & 1
    ][:MOST_NEW_CHANNELS]


def _link(
    state: MacState, _session: Session, uplink: AcceptedUplink, policy: MacPolicy
) -> Sequence[DownlinkCommand]:
    if not state.adr or state.data_rate > FASTEST_DATA_RATE:
        return []
    if state.asked_for(LinkAdrReq.CID).agreed_data_rate != UNKNOWN_DATA_RATE:
        return []  # It has agreed to move: whether it does, its next uplink tells.
    now = LinkSettings(state.data_rate, state.tx_power, state.nb_trans)
    wanted = decide(policy.region, now, state.limits_at(uplink.at_us), state.history, policy.adr_bounds)
    if wanted == now and not uplink.adr_ack_req:
        return []  # A device that sets ADRACKReq is sent its plan again (row 36).
    return [LinkAdrReq(wanted.data_rate, wanted.tx_power, state.channels, 0, wanted.nb_trans)]


def _status(
    state: MacState, _session: Session, uplink: AcceptedUplink, policy: MacPolicy
) -> Sequence[DownlinkCommand]:
    is_due = policy.status_every_us and uplink.at_us >= state.status_due_us
    return [DevStatusReq()] if is_due else []


def _without_power(limits: Limits, rejected_index: int) -> Limits:
    """Row 34: an index that was rejected is one too high; that of full power is one too low."""
    if not rejected_index:
        return replace(limits, min_tx_power=1)
    return replace(limits, max_tx_power=rejected_index - 1)
