"""A device's session: which uplinks it accepts, and how its downlinks are numbered and built.

Everything that decides about a frame counter is here. State and time come in, an outcome goes out; the caller
saves the session that the outcome carries. "Row" is a row of docs/protocols.md, "Matrix".

What is made anew for every uplink is a msgspec Struct: a frozen dataclass costs ten times as much to make.
"""

from hashlib import blake2b

from msgspec import Struct
from msgspec.structs import replace

from lorawan.crypto import Direction, SessionCipher
from lorawan.frame import MAX_F_CNT, DownlinkFCtrl, DownlinkFrame, UplinkFCtrl, UplinkFrame
from lorawan.identifiers import DevAddr
from lorawan.rejections import RejectReason

# A gap above this was rejected up to 1.0.3 (MAX_FCNT_GAP); it is accepted here, and worth a warning (row 8).
MAX_F_CNT_GAP = 16_384
# A confirmed uplink is acknowledged again this long after its RX2 has opened (row 10).
RETRANSMISSION_WINDOW_US = 10_000_000
DIGEST_LENGTH = 16

_SECOND_US = 1_000_000
_F_CNT_16_BITS = 0x1_0000


class LastUplink(Struct, frozen=True, gc=False):
    """The last uplink that was accepted: it distinguishes a retransmission from a replay."""

    f_cnt: int
    digest: bytes
    confirmed: bool
    time_us: int


class Session(Struct, frozen=True, gc=False):
    """The state of an activation; counters are 32-bit and name the *next* frame, delays are in seconds."""

    dev_addr: DevAddr
    f_cnt_up: int = 0
    f_cnt_down: int = 0
    rx1_delay: int = 1
    rx1_dr_offset: int = 0
    rx2_dr: int = 0
    rx2_frequency: int = 869_525_000
    skip_f_cnt: bool = False
    """ABP devices that restart at 0: a lower FCnt is accepted, and so is a replay. A risk to be shown."""
    last_uplink: LastUplink | None = None

    @property
    def started(self) -> bool:
        """Whether the device has used the session: before, nothing is sent (docs/protocols.md, row 23)."""
        return self.last_uplink is not None


class Accepted(Struct, frozen=True):
    """A new uplink; `session` is to be saved before anything is done with it."""

    session: Session
    f_cnt: int
    f_port: int | None
    payload: bytes
    """FRMPayload, decrypted: application data, or commands when `f_port` is 0."""
    f_opts: bytes
    confirmed: bool
    missed: int
    """How many frames were never received between the last accepted uplink and this one."""
    counter_restarted: bool = False

    def __repr__(self) -> str:
        """Without the payload: what a device says is not for logs."""
        return f"Accepted(f_cnt={self.f_cnt}, f_port={self.f_port}, confirmed={self.confirmed})"

    @property
    def commands(self) -> bytes:
        """The MAC commands, wherever the device put them."""
        return self.payload if self.f_port == 0 else self.f_opts


class Retransmission(Struct, frozen=True, gc=False):
    """The last accepted uplink again, octet for octet: never published twice (rows 10 and 11)."""

    f_cnt: int
    acknowledge: bool
    """The device did not receive the acknowledgement of its confirmed uplink: it is to be sent again."""
    confirmed: bool


class Rejected(Struct, frozen=True, gc=False):
    """Not an uplink of this session at this point; the state does not change."""

    reason: RejectReason
    f_cnt: int | None = None
    """The 32-bit counter for which the MIC is right; None when there is none."""


Outcome = Accepted | Retransmission | Rejected


def accept(session: Session, cipher: SessionCipher, frame: UplinkFrame, phy: bytes, now_us: int) -> Outcome:
    """Judges a data uplink whose DevAddr is the session's (rows 4 to 12).

    Args:
        session: as it was last saved.
        cipher: made of this session's keys.
        frame: `UplinkFrame.from_bytes(phy)`, parsed once for all the sessions that share its DevAddr.
        phy: the PHYPayload as received.
        now_us: when this copy was received, in microseconds since 1970.
    """
    digest = digest_of(phy)
    last = session.last_uplink
    if last is not None and last.f_cnt & 0xFFFF == frame.f_cnt and last.digest == digest:
        return Retransmission(last.f_cnt, _acknowledge_again(session, last, now_us), last.confirmed)

    missed = (frame.f_cnt - session.f_cnt_up) % _F_CNT_16_BITS
    ahead = session.f_cnt_up + missed
    if ahead <= MAX_F_CNT and cipher.verify_uplink(phy, session.dev_addr, ahead):
        return _accepted(session, cipher, frame, LastUplink(ahead, digest, frame.confirmed, now_us), missed)
    for behind in _counters_behind(ahead, frame.f_cnt):
        if not cipher.verify_uplink(phy, session.dev_addr, behind):
            continue
        if session.skip_f_cnt:
            restarted = LastUplink(behind, digest, frame.confirmed, now_us)
            return _accepted(session, cipher, frame, restarted, missed=0)
        same = last is not None and last.f_cnt == behind
        return Rejected(RejectReason.SAME_F_CNT if same else RejectReason.REPLAY, behind)
    return Rejected(RejectReason.MIC)


def digest_of(phy: bytes) -> bytes:
    """What `LastUplink` keeps of a PHYPayload to know it again: 16 octets of BLAKE2b."""
    return blake2b(phy, digest_size=DIGEST_LENGTH).digest()


def next_downlink(session: Session) -> tuple[Session, int]:
    """The session to be committed, and the FCntDown that is then used, once, whatever the gateway answers.

    Raises:
        OverflowError: the 32-bit counter is used up; only a new join helps.
    """
    f_cnt = session.f_cnt_down
    if f_cnt > MAX_F_CNT:
        raise OverflowError(f"FCntDown of {session.dev_addr.hex()} is used up: the device must join again")
    return replace(session, f_cnt_down=f_cnt + 1), f_cnt


def build_downlink(
    session: Session,
    cipher: SessionCipher,
    f_cnt: int,
    *,
    f_port: int | None = None,
    payload: bytes = b"",
    confirmed: bool = False,
    ack: bool = False,
    adr: bool = False,
    f_pending: bool = False,
    f_opts: bytes = b"",
) -> bytes:
    """The PHYPayload of a downlink: encrypted, signed, with the counter that `next_downlink` gave.

    Raises:
        ValueError: FOpts beside FPort 0 or over 15 octets, a payload without FPort, or a frame too long.
    """
    frm_payload = cipher.crypt(Direction.DOWN, session.dev_addr, f_cnt, f_port or 0, payload)
    f_ctrl = DownlinkFCtrl(adr, ack, f_pending)
    frame = DownlinkFrame(confirmed, session.dev_addr, f_ctrl, f_cnt & 0xFFFF, f_opts, f_port, frm_payload)
    message = frame.message()
    return message + cipher.downlink_mic(message, session.dev_addr, f_cnt)


def build_uplink(
    dev_addr: DevAddr,
    cipher: SessionCipher,
    f_cnt: int,
    *,
    f_port: int | None = None,
    payload: bytes = b"",
    confirmed: bool = False,
    f_ctrl: UplinkFCtrl = UplinkFCtrl(),  # noqa: B008  # Frozen: shared without harm.
    f_opts: bytes = b"",
) -> bytes:
    """The PHYPayload that a device sends; `f_cnt` is its 32-bit counter.

    Raises:
        ValueError: FOpts beside FPort 0 or over 15 octets, a payload without FPort, or a frame too long.
    """
    frm_payload = cipher.crypt(Direction.UP, dev_addr, f_cnt, f_port or 0, payload)
    message = UplinkFrame(confirmed, dev_addr, f_ctrl, f_cnt & 0xFFFF, f_opts, f_port, frm_payload).message()
    return message + cipher.uplink_mic(message, dev_addr, f_cnt)


def _accepted(
    session: Session, cipher: SessionCipher, frame: UplinkFrame, uplink: LastUplink, missed: int
) -> Accepted:
    f_cnt = uplink.f_cnt
    payload = b""
    if frame.f_port is not None:
        payload = cipher.crypt(Direction.UP, session.dev_addr, f_cnt, frame.f_port, frame.frm_payload)
    return Accepted(
        session=replace(session, f_cnt_up=f_cnt + 1, last_uplink=uplink),
        f_cnt=f_cnt,
        f_port=frame.f_port,
        payload=payload,
        f_opts=frame.f_opts,
        confirmed=frame.confirmed,
        missed=missed,
        counter_restarted=f_cnt < session.f_cnt_up,
    )


def _counters_behind(ahead: int, f_cnt_16: int) -> tuple[int, ...]:
    """The counters already passed that a frame may carry: one rollover back, and a restart from 0 (row 7)."""
    one_rollover_back = ahead - _F_CNT_16_BITS
    if one_rollover_back < 0:
        return ()
    if one_rollover_back == f_cnt_16:
        return (f_cnt_16,)
    return (one_rollover_back, f_cnt_16)


def _acknowledge_again(session: Session, last: LastUplink, now_us: int) -> bool:
    """A device sends again after its RX2 at the earliest: an earlier copy came late from another gateway.

    The window counts from the first copy, so that a replayed confirmed uplink cannot draw answers for ever.
    """
    if not last.confirmed:
        return False
    rx1_opens_us = session.rx1_delay * _SECOND_US
    window_closes_us = rx1_opens_us + _SECOND_US + RETRANSMISSION_WINDOW_US
    return rx1_opens_us <= now_us - last.time_us <= window_closes_us
