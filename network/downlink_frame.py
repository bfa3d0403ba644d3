"""What is to be sent to one device, and how: the frame, its windows and the gateways to ask. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from core.messages.downlinks import Transmission, TransmitRequest
from core.model.downlinks import DueDownlink
from lorawan.airtime import Priority, downlink_airtime_us
from lorawan.frame import MAX_F_OPTS
from lorawan.regions import EU868
from lorawan.session import build_downlink
from lorawan.windows import (
    GatewayReception,
    Window,
    class_a_windows,
    class_c_window,
    join_windows,
    latest_useful_join_us,
    latest_useful_us,
    rank_gateways,
    still_possible,
)
from network.deduplication import Group
from network.receive import Opportunity, session_reception
from network.sessions import HeldSession, SessionReception

REGION = EU868
# How long an immediate transmission may wait for its gateway's radio.
CLASS_C_PATIENCE_US = 3_000_000
# After RX2 has opened, a class C device that receives nothing is back on RX2 parameters within this time.
CLASS_C_MARGIN_US = 500_000


@dataclass(frozen=True, slots=True)
class PlannedDownlink:
    """One frame to one device. `accept` is set for a join-accept, which has no counter."""

    session: HeldSession
    routes: tuple[SessionReception, ...]  # Best first; each gateway once.
    latest_us: int  # After this instant no window is open.
    is_class_c: bool = False
    acknowledge: bool = False
    commands: bytes = b""  # Of the MAC layer: in FOpts up to 15 octets, else alone under FPort 0.
    more_waits: bool = False  # A row had to give way to the commands.
    row: DueDownlink | None = None
    accept: bytes = b""

    @property
    def device_id(self) -> int:
        """The device that the frame is for."""
        return self.session.device_id

    @property
    def priority(self) -> int:
        """Joins and acknowledgements first, then the row's own priority."""
        if self.accept or self.acknowledge:
            return Priority.JOIN_OR_ACK
        return Priority.COMMAND if self.row is None else self.row.priority


def plan_answer(opportunity: Opportunity, row: DueDownlink | None) -> PlannedDownlink:
    """A class A answer: what the uplink asks for, and a due row if the commands leave room for it."""
    has_own_frame = len(opportunity.commands) > MAX_F_OPTS
    return PlannedDownlink(
        opportunity.session,
        rank(opportunity.receptions),
        answer_useful_until_us(opportunity),
        acknowledge=opportunity.acknowledge,
        commands=opportunity.commands,
        more_waits=has_own_frame and row is not None,
        row=None if has_own_frame else row,
    )


def plan_class_c(session: HeldSession, row: DueDownlink, now_us: int) -> PlannedDownlink:
    """A row for a device that listens now, through the gateways that received it last."""
    return PlannedDownlink(
        session, rank(session.progress.receptions), now_us + CLASS_C_PATIENCE_US, is_class_c=True, row=row
    )


def plan_accept(session: HeldSession, group: Group, accept: bytes) -> PlannedDownlink:
    """The answer to the join-request of this group, which opened the session."""
    copies = [session_reception(copy) for copy in group.receptions]
    latest_us = latest_useful_join_us(group.live_at_us, REGION)
    return PlannedDownlink(session, rank(copies), latest_us, accept=accept)


def answer_useful_until_us(opportunity: Opportunity) -> int:
    """The instant after which an uplink plans no downlink."""
    return latest_useful_us(opportunity.uplink_at_us, opportunity.session.progress.state.rx1_delay)


def class_c_listens_from_us(session: HeldSession) -> int:
    """When a class C device is done with the class A windows of its last uplink."""
    state = session.progress.state
    heard_at_us = max((copy.received_at_us for copy in session.progress.receptions), default=0)
    return heard_at_us + (state.rx1_delay + 1) * 1_000_000 + CLASS_C_MARGIN_US


def rank(
    receptions: Iterable[SessionReception],
    load: Callable[[bytes], int] | None = None,
    first_window: Callable[[SessionReception], int | None] = lambda _: 0,
) -> tuple[SessionReception, ...]:
    """The receptions to answer through: one per gateway, the best first.

    With `load`, of the gateways that receive the device well the one that can serve the earliest window comes
    first, then the least busy (docs/protocols.md, row 27); one that can serve none comes last.
    """
    best: dict[bytes, SessionReception] = {}
    for copy in receptions:
        known = best.get(copy.gateway_id)
        if known is None or (copy.snr, copy.rssi) > (known.snr, known.rssi):
            best[copy.gateway_id] = copy
    if not best:
        return ()
    spreading_factor = next(iter(best.values())).spreading_factor
    ranked = rank_gateways(
        (GatewayReception(copy.gateway_id, copy.rssi, copy.snr, first_window(copy)) for copy in best.values()),
        spreading_factor,
        None if load is None else lambda heard: load(heard.gateway_id),
    )
    return tuple(best[heard.gateway_id] for heard in ranked)


def windows_of(planned: PlannedDownlink, reception: SessionReception) -> tuple[Window, ...]:
    """The receive windows in which the device can be reached through the gateway of this reception."""
    state = planned.session.progress.state
    if planned.is_class_c:
        return (class_c_window(REGION, state),)
    data_rate = REGION.data_rate_of(reception.spreading_factor, reception.bandwidth)
    if planned.accept:
        return join_windows(REGION, reception.frequency, data_rate)
    return class_a_windows(REGION, state, reception.frequency, data_rate)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One gateway to ask, and for which windows."""

    reception: SessionReception
    windows: tuple[Window, ...]
    falls_back: bool = True
    """False: when its radio is not free in the first window, another gateway is asked before its next one."""


def attempts(
    planned: PlannedDownlink,
    most: int,
    is_below_limit: Callable[[bytes], bool],
    load: Callable[[bytes], int],
    now_us: int,
) -> list[Attempt]:
    """Which gateway to ask for which windows, in turn, over the `most` best gateways.

    RX1 is tried on every gateway before RX2 on any (decision 47). A single gateway is asked for both windows at
    once, since every request for a data frame uses up a counter. RX2 of a join-accept is DR0 and holds a radio for
    1.8 s: on a gateway that is not calm it is not tried at all, since it would only make other accepts collide and
    go to RX2, too; unless RX1 would have held the radio as long, and the device would come again with 1.5 s of it.
    """

    def first_window(reception: SessionReception) -> int | None:
        windows = windows_of(planned, reception)
        return next((place for place, window in enumerate(windows) if is_open(window, reception, now_us)), None)

    # A campaign's frame has its turn at the best gateway: its neighbour listens meanwhile.
    is_paced = planned.is_class_c and planned.row is not None and planned.row.is_paced
    ranked = rank(planned.routes, None if is_paced else load, first_window)
    asked = [(copy, windows_of(planned, copy)) for copy in ranked[:most]]
    if planned.accept:
        first = [Attempt(copy, windows[:1]) for copy, windows in asked]
        second = [
            Attempt(copy, windows[1:])
            for copy, windows in asked
            if windows[1:] and (_is_as_short(*windows) or is_below_limit(copy.gateway_id))
        ]
        return first + second
    if len(asked) == 1 or planned.is_class_c:
        return [Attempt(copy, windows) for copy, windows in asked]
    first = [Attempt(copy, windows, falls_back=False) for copy, windows in asked if windows[1:]]
    return first + [Attempt(copy, windows[-1:]) for copy, windows in asked]


def _is_as_short(rx1: Window, rx2: Window) -> bool:
    """Whether a frame takes no longer in RX2."""
    return rx2.data_rate >= rx1.data_rate


def fitting(planned: PlannedDownlink, windows: Iterable[Window]) -> list[Window]:
    """The windows whose data rate has room for the payload (docs/protocols.md, "Matrix", row 33)."""
    octets = len(_under_f_port_0(planned)) if planned.row is None else len(planned.row.payload)
    return [window for window in windows if octets <= REGION.max_payload[window.data_rate]]


def frame(planned: PlannedDownlink, windows: Iterable[Window], f_cnt: int) -> bytes:
    """The PHYPayload; commands that have no room beside the row are left out: they are asked again."""
    if planned.accept:
        return planned.accept
    state, row = planned.session.progress.state, planned.row
    adr = planned.session.progress.mac.adr
    if row is None and (commands := _under_f_port_0(planned)):
        return build_downlink(
            state,
            planned.session.cipher,
            f_cnt,
            f_port=0,
            payload=commands,
            ack=planned.acknowledge,
            adr=adr,
            f_pending=planned.more_waits,
        )
    room = min(REGION.max_payload[window.data_rate] for window in windows)
    fits = len(planned.commands) + (0 if row is None else len(row.payload)) <= room
    return build_downlink(
        state,
        planned.session.cipher,
        f_cnt,
        f_port=None if row is None else row.f_port,
        payload=b"" if row is None else row.payload,
        confirmed=row is not None and row.confirmed,
        ack=planned.acknowledge,
        adr=adr,
        f_pending=row is not None and row.waiting > 1 and not planned.is_class_c,
        f_opts=planned.commands if fits else b"",
    )


def _under_f_port_0(planned: PlannedDownlink) -> bytes:
    """The commands that FOpts cannot hold."""
    return planned.commands if len(planned.commands) > MAX_F_OPTS else b""


def is_open(window: Window, reception: SessionReception, now_us: int) -> bool:
    """Whether a request that leaves now reaches this gateway in time (docs/protocols.md, row 28)."""
    return still_possible(window, reception.received_at_us, now_us, reception.round_trip_us)


def request(
    planned: PlannedDownlink, attempt: Attempt, windows: Iterable[Window], phy_payload: bytes, now_us: int
) -> TransmitRequest | None:
    """The request to one gateway: the same frame in every window that can still be met; None when none can."""
    reception = attempt.reception
    possible = [window for window in windows if is_open(window, reception, now_us)]
    if not possible:
        return None
    return TransmitRequest(
        downlink_id=0 if planned.row is None else planned.row.id,
        gateway_id=reception.gateway_id,
        context=reception.context,
        uplink_at_us=0 if planned.is_class_c else reception.received_at_us,
        latest_at_us=planned.latest_us,
        priority=planned.priority,
        transmissions=[
            Transmission(
                phy_payload,
                window.frequency,
                window.spreading_factor,
                window.bandwidth,
                window.delay_us,
                window.immediate,
            )
            for window in possible
        ],
        falls_back=attempt.falls_back,
    )


def airtime_us(transmission: Transmission) -> int:
    """Time on air of a transmission that was accepted."""
    data_rate = REGION.data_rate_of(transmission.spreading_factor, transmission.bandwidth)
    rate = REGION.data_rates[REGION.rx2_data_rate if data_rate is None else data_rate]
    return downlink_airtime_us(len(transmission.phy_payload), rate)
