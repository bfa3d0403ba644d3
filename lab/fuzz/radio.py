"""Conversations of a device with the network: spoilt frames, MAC commands that nobody asked for, in any state."""

import random
from contextlib import suppress
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from lab.fuzz import mutations
from lab.fuzz.target import NOW_US, Target
from lorawan.adr import Limits
from lorawan.commands import DOWNLINK_COMMANDS, UPLINK_COMMANDS, encode_commands, parse_downlink_commands
from lorawan.commands.new_channel import NewChannelReq
from lorawan.commands.rx_param_setup import RxParamSetupReq
from lorawan.crypto import SessionCipher, SessionKeys
from lorawan.frame import MAX_F_OPTS, DownlinkFrame, MalformedFrame, UplinkFCtrl, UplinkFrame
from lorawan.identifiers import DevAddr
from lorawan.join import JoinRequest
from lorawan.mac_state import DAY_US, HOUR_US, Asked, MacPolicy, MacState, first_state
from lorawan.negotiation import MOST_NEW_CHANNELS, AcceptedUplink, ask, handle_uplink
from lorawan.regions import EU868
from lorawan.session import Accepted, Session, accept, build_downlink, build_uplink, next_downlink

ADDRESS = DevAddr(bytes.fromhex("49be7df1"))
KEYS = SessionKeys(bytes.fromhex("44024241ed4ce9a68c6a8bc055233fd3"), bytes(range(16)))
CIPHER = SessionCipher(KEYS)
MOST_STEPS = 12
POLICIES = (
    MacPolicy(EU868),
    MacPolicy(
        EU868, rx1_delay=5, rx_params=RxParamSetupReq(2, 3, 869_525_000), max_duty_cycle=7, status_every_us=1
    ),
    MacPolicy(EU868, adr=False, status_every_us=0),
)


class Step(NamedTuple):
    """One frame, as it is on the air, and how it was received."""

    phy_payload: bytes
    is_ours: bool
    """Signed with the session's key; everything else must be refused."""
    at_us: int
    data_rate: int | None
    snr: float
    missed: int
    round_trip_us: int


class Conversation(NamedTuple):
    """A device's frames in their order, from the state in which its session is."""

    policy: MacPolicy
    session: Session
    state: MacState
    steps: list[Step]


def conversation(source: random.Random) -> Conversation:
    """Frames whose counters rise, stay, fall and roll over, with FOpts and FPort 0 of every kind."""
    policy = source.choice(POLICIES)
    f_cnt = source.choice((0, 1, 0xFFFE, 0xFFFF, 0x1_0000, 0xFFFF_FFF0, 0xFFFF_FFFF, source.randrange(1 << 32)))
    down = source.choice((0, 1, 0xFFFF, 0xFFFF_FFFE, 0xFFFF_FFFF))
    session = Session(ADDRESS, f_cnt, down, skip_f_cnt=source.random() < 0.2)  # noqa: PLR2004 - Now and then.
    steps, at_us = list[Step](), NOW_US
    for _ in range(source.randint(1, MOST_STEPS)):
        at_us += source.choice((0, 1, 1_000_000, HOUR_US, DAY_US, 400 * DAY_US, -HOUR_US))
        f_cnt = (f_cnt + source.choice((0, 1, 1, 1, 2, 20_000, 0xFFFF, -1))) % (1 << 32)
        steps.append(_step(source, f_cnt, at_us))
    return Conversation(policy, session, _state(source), steps)


def _state(source: random.Random) -> MacState:
    """Any that answers may have led to."""
    asked = [
        Asked(cid, _requests(source, cid), source.randrange(4), source.randrange(12), source.choice((0, NOW_US)))
        for cid in source.sample(list(DOWNLINK_COMMANDS), source.randrange(4))
    ]
    return replace(
        first_state(EU868, ADDRESS, NOW_US, joined=source.random() < 0.5),  # noqa: PLR2004
        tx_power=source.randrange(8),
        nb_trans=source.randint(1, 3),
        data_rate=source.randrange(-1, 8),
        limits=Limits(source.randrange(6), source.randrange(3), source.randrange(3, 8)),
        limits_until_us=source.choice((0, NOW_US + DAY_US)),
        asked=tuple(asked),
    )


def _requests(source: random.Random, cid: int) -> bytes:
    """A request of this command as the network may have made it, three of channels; none now and then."""
    if cid == NewChannelReq.CID:
        first = source.randrange(len(EU868.uplink_channels))
        channels = list(enumerate(EU868.uplink_channels))[first : first + source.randint(1, MOST_NEW_CHANNELS)]
        return encode_commands(
            NewChannelReq(index, one.frequency, one.min_data_rate, one.max_data_rate) for index, one in channels
        )
    command = DOWNLINK_COMMANDS[cid]
    with suppress(ValueError):  # Out of its range: the network never asks so.
        return command.from_bytes(bytes((cid,)) + source.randbytes(command.LENGTH)).to_bytes()
    return b""


def _step(source: random.Random, f_cnt: int, at_us: int) -> Step:
    phy_payload = signed_frame(source, f_cnt)
    is_ours = source.random() < 0.8  # noqa: PLR2004 - Most are signed: otherwise nothing of them is read.
    spoilt = phy_payload if is_ours else mutations.octets(source, phy_payload)[:300]
    return Step(
        spoilt,
        spoilt == phy_payload,
        at_us,
        source.choice((None, 0, 1, 5, 6, 7, 15)),
        source.choice((-200.0, -20.0, 0.0, 12.5, 127.0)),
        source.choice((0, 1, 16_384, 65_535)),
        source.choice((0, 1, 30_000, 3_000_000, 10**9)),
    )


def signed_frame(source: random.Random, f_cnt: int) -> bytes:
    """A frame of the session with any commands, flags, port and payload."""
    commands = _commands(source)
    in_payload = source.random() < 0.3 or len(commands) > MAX_F_OPTS  # noqa: PLR2004
    payload = commands if in_payload else mutations.noise(source, 50)
    f_port = 0 if in_payload else source.choice((None, 1, 85, 223, 224, 255))
    return build_uplink(
        ADDRESS,
        CIPHER,
        f_cnt,
        f_port=f_port,
        payload=b"" if f_port is None else payload,
        confirmed=source.random() < 0.5,  # noqa: PLR2004
        f_ctrl=UplinkFCtrl.from_byte(source.randrange(256)),
        f_opts=b"" if in_payload else commands,
    )


def _commands(source: random.Random) -> bytes:
    """Answers of every kind, whole, cut, unknown, many of one."""
    if source.random() < 0.3:  # noqa: PLR2004
        return mutations.noise(source, 15)
    octets = b""
    for _ in range(source.randint(0, 6)):
        cid = source.choice(list(UPLINK_COMMANDS))
        octets += bytes((cid,)) + source.randbytes(UPLINK_COMMANDS[cid].LENGTH)
    return octets[: source.choice((15, 15, 51))]


def hold(case: Conversation) -> str:
    """Play it as the network does: nothing unsigned is accepted, no counter falls, states can be stored."""
    session, state, accepted = case.session, case.state, 0
    for step in case.steps:
        session, state, is_accepted = _receive(case, step, session, state)
        if is_accepted and not step.is_ours:
            raise AssertionError(f"{step.phy_payload.hex()} is not signed, and accepted")
        accepted += is_accepted
    return "accepted" if accepted else "refused"


def _receive(case: Conversation, step: Step, session: Session, state: MacState) -> tuple[Session, MacState, bool]:
    try:
        frame = UplinkFrame.from_bytes(step.phy_payload)
    except MalformedFrame as malformed:
        str(malformed).encode()
        _ask_to_join(step.phy_payload)
        return session, state, False
    if frame.dev_addr != ADDRESS:
        return session, state, False
    outcome = accept(session, CIPHER, frame, step.phy_payload, step.at_us)
    if not isinstance(outcome, Accepted):
        return session, state, False
    if outcome.session.f_cnt_up <= session.f_cnt_up and not outcome.counter_restarted:
        raise AssertionError(f"the counter falls from {session.f_cnt_up} to {outcome.session.f_cnt_up}")
    uplink = AcceptedUplink(
        step.at_us,
        outcome.commands,
        frame.f_ctrl.adr,
        frame.f_ctrl.adr_ack_req,
        step.data_rate,
        step.snr,
        step.missed,
        step.round_trip_us,
    )
    learned = handle_uplink(state, outcome.session, uplink, case.policy)
    asked, requests = ask(learned.state, learned.session, uplink, case.policy)
    if msgspec.json.decode(msgspec.json.encode(asked), type=MacState) != asked:
        raise AssertionError(f"{asked} is another once it is stored")
    return _answer(learned.session, requests), asked, True


def _answer(session: Session, requests: bytes) -> Session:
    """The downlink with these requests, which a device can read."""
    try:
        counted, f_cnt = next_downlink(session)
    except OverflowError:
        return replace(session, f_cnt_down=0)  # It is used up, and the device joins again.
    in_f_opts = len(requests) <= MAX_F_OPTS
    phy_payload = build_downlink(
        counted,
        CIPHER,
        f_cnt,
        f_port=None if in_f_opts else 0,
        payload=b"" if in_f_opts else requests,
        ack=True,
        f_opts=requests if in_f_opts else b"",
    )
    frame = DownlinkFrame.from_bytes(phy_payload)
    if in_f_opts and (frame.f_opts != requests or parse_downlink_commands(requests).problem):
        raise AssertionError(f"{requests.hex()} cannot be read by a device")
    return counted


def _ask_to_join(phy_payload: bytes) -> None:
    try:
        JoinRequest.from_bytes(phy_payload).verify(bytes(16))
    except MalformedFrame:
        return


def accepts_a_good_frame() -> None:
    """A frame of the session is accepted, its payload read, and it is answered."""
    phy_payload = build_uplink(ADDRESS, CIPHER, 7, f_port=1, payload=b"ok", confirmed=True)
    outcome = accept(Session(ADDRESS), CIPHER, UplinkFrame.from_bytes(phy_payload), phy_payload, NOW_US)
    assert isinstance(outcome, Accepted)
    assert (outcome.payload, outcome.session.f_cnt_up) == (b"ok", 8)
    _answer(outcome.session, b"")


PHY = Target("phy", "PHYPayload et état MAC", conversation, hold, accepts_a_good_frame)
