"""Over-the-air activation: join-request, join-accept, session keys and DevAddr (LoRaWAN L2 1.0.4, section 6)."""

from collections.abc import Callable
from dataclasses import dataclass
from hmac import compare_digest
from struct import Struct

from lorawan.crypto import BLOCK, KEY_LENGTH, SessionKeys, aes_decrypt, aes_encrypt, cmac_mic
from lorawan.frame import JOIN_REQUEST_LENGTH, MIC_LENGTH, MalformedFrame, MType, mtype_of
from lorawan.identifiers import SLOTS, DevAddr, DevEui, JoinEui, slot_of_dev_addr

JOIN_ACCEPT_LENGTHS = (17, 33)
CF_LIST_LENGTH = 16
CF_LIST_CHANNELS = 5
FREQUENCY_STEP_HZ = 100

_JOIN_REQUEST = Struct("<B8s8sH")
_NWK_ADDR_BITS = 25
_MAX_DRAWS = 1_000  # One draw in sixteen fits; this many in vain says that the source is not random.
_MAX_NONCE = 0xFF_FFFF
_MAX_RX1_DELAY = 15


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """A device asking for a session (section 6.2.4)."""

    join_eui: JoinEui
    dev_eui: DevEui
    dev_nonce: int
    mic: bytes = bytes(MIC_LENGTH)

    @classmethod
    def from_bytes(cls, phy_payload: bytes) -> "JoinRequest":
        """Reads a PHYPayload without checking its MIC.

        Raises:
            MalformedFrame: it is not a join-request of 23 octets.
        """
        m_type = mtype_of(phy_payload)
        if m_type is not MType.JOIN_REQUEST:
            raise MalformedFrame(f"MType {m_type.name} in MHDR {phy_payload[0]:02x}, expected JOIN_REQUEST")
        if len(phy_payload) != JOIN_REQUEST_LENGTH:
            raise MalformedFrame(
                f"{len(phy_payload)} octets, a join-request has {JOIN_REQUEST_LENGTH}: {phy_payload.hex()}"
            )
        _, join_eui, dev_eui, dev_nonce = _JOIN_REQUEST.unpack_from(phy_payload)
        mic = phy_payload[-MIC_LENGTH:]
        return cls(JoinEui(join_eui[::-1]), DevEui(dev_eui[::-1]), dev_nonce, mic)

    @classmethod
    def signed(cls, app_key: bytes, join_eui: JoinEui, dev_eui: DevEui, dev_nonce: int) -> "JoinRequest":
        """The request that a device with this AppKey sends."""
        message = cls(join_eui, dev_eui, dev_nonce).message()
        return cls(join_eui, dev_eui, dev_nonce, cmac_mic(app_key, message))

    def message(self) -> bytes:
        """What the MIC covers."""
        return _JOIN_REQUEST.pack(MType.JOIN_REQUEST << 5, self.join_eui[::-1], self.dev_eui[::-1], self.dev_nonce)

    def to_bytes(self) -> bytes:
        """The PHYPayload."""
        return self.message() + self.mic

    def verify(self, app_key: bytes) -> bool:
        """Whether a device that has this AppKey made the request."""
        return compare_digest(cmac_mic(app_key, self.message()), self.mic)


@dataclass(frozen=True, slots=True)
class CFList:
    """Up to five more channels, in Hz: CFListType 0, that of EU868 (Regional Parameters, section 2.4.4)."""

    frequencies: tuple[int, ...]

    @classmethod
    def from_bytes(cls, octets: bytes) -> "CFList":
        """Reads the 16 octets; unused channels at the end are left out.

        Raises:
            MalformedFrame: it has another length or another CFListType.
        """
        if len(octets) != CF_LIST_LENGTH or octets[-1]:
            raise MalformedFrame(f"a CFList of EU868 has {CF_LIST_LENGTH} octets and ends in 00: {octets.hex()}")
        steps = [int.from_bytes(octets[at : at + 3], "little") for at in range(0, 3 * CF_LIST_CHANNELS, 3)]
        while steps and not steps[-1]:
            steps.pop()
        return cls(tuple(step * FREQUENCY_STEP_HZ for step in steps))

    def to_bytes(self) -> bytes:
        """The 16 octets.

        Raises:
            ValueError: more than five channels, or a frequency that is not a multiple of 100 Hz.
        """
        if len(self.frequencies) > CF_LIST_CHANNELS:
            raise ValueError(f"{len(self.frequencies)} channels, a CFList has room for {CF_LIST_CHANNELS}")
        octets = b"".join(frequency_to_bytes(frequency) for frequency in self.frequencies)
        return octets.ljust(CF_LIST_LENGTH, b"\x00")


EU868_CF_LIST = CFList((867_100_000, 867_300_000, 867_500_000, 867_700_000, 867_900_000))


@dataclass(frozen=True, slots=True)
class JoinAccept:
    """The network's answer (section 6.2.5): `net_id` and `join_nonce` are 24-bit numbers, the delay in seconds."""

    join_nonce: int
    net_id: int
    dev_addr: DevAddr
    rx1_dr_offset: int = 0
    rx2_dr: int = 0
    rx1_delay: int = 1
    cf_list: CFList | None = None

    @classmethod
    def from_bytes(cls, phy_payload: bytes, app_key: bytes) -> "JoinAccept":
        """Opens a join-accept as the device does.

        Raises:
            MalformedFrame: it is not a join-accept, or not one for this AppKey.
        """
        m_type = mtype_of(phy_payload)
        if m_type is not MType.JOIN_ACCEPT:
            raise MalformedFrame(f"MType {m_type.name} in MHDR {phy_payload[0]:02x}, expected JOIN_ACCEPT")
        if len(phy_payload) not in JOIN_ACCEPT_LENGTHS:
            raise MalformedFrame(f"{len(phy_payload)} octets, a join-accept has 17 or 33: {phy_payload.hex()}")
        clear = aes_encrypt(app_key, phy_payload[1:])
        body, mic = clear[:-MIC_LENGTH], clear[-MIC_LENGTH:]
        expected = cmac_mic(app_key, phy_payload[:1] + body)
        if not compare_digest(expected, mic):
            raise MalformedFrame(f"the MIC of a join-accept should be {expected.hex()}, not {mic.hex()}")
        return cls(
            join_nonce=int.from_bytes(body[0:3], "little"),
            net_id=int.from_bytes(body[3:6], "little"),
            dev_addr=DevAddr(body[9:5:-1]),
            rx1_dr_offset=body[10] >> 4 & 0x07,
            rx2_dr=body[10] & 0x0F,
            rx1_delay=body[11] & _MAX_RX1_DELAY or 1,  # RxDelay 0 means one second (section 4.3.1.7).
            cf_list=CFList.from_bytes(body[12:]) if len(body) > CF_LIST_LENGTH else None,
        )

    def to_bytes(self, app_key: bytes) -> bytes:
        """The encrypted PHYPayload: 17 octets, 33 with a CFList.

        Raises:
            ValueError: a field is out of its range.
        """
        if not (0 <= self.rx1_dr_offset <= 7 and 0 <= self.rx2_dr <= 15):  # noqa: PLR2004  # Their bit widths.
            raise ValueError(f"RX1DROffset {self.rx1_dr_offset} or RX2DR {self.rx2_dr} is out of range")
        if not 1 <= self.rx1_delay <= _MAX_RX1_DELAY:
            raise ValueError(f"RxDelay of {self.rx1_delay} s, it is 1 to {_MAX_RX1_DELAY}")
        header = bytes((MType.JOIN_ACCEPT << 5,))
        body = (
            self.join_nonce.to_bytes(3, "little")
            + self.net_id.to_bytes(3, "little")
            + self.dev_addr[::-1]
            + bytes((self.rx1_dr_offset << 4 | self.rx2_dr, self.rx1_delay))
            + (self.cf_list.to_bytes() if self.cf_list else b"")
        )
        # A device has only the AES encryption, so the network encrypts by decrypting.
        return header + aes_decrypt(app_key, body + cmac_mic(app_key, header + body))


def derive_session_keys(app_key: bytes, join_nonce: int, net_id: int, dev_nonce: int) -> SessionKeys:
    """NwkSKey and AppSKey of the session that a join opens (section 6.2.5)."""
    if len(app_key) != KEY_LENGTH:
        raise ValueError(f"AppKey has {len(app_key)} octets, not {KEY_LENGTH}")
    seed = join_nonce.to_bytes(3, "little") + net_id.to_bytes(3, "little") + dev_nonce.to_bytes(2, "little")
    nwk_s_key = aes_encrypt(app_key, (b"\x01" + seed).ljust(BLOCK, b"\x00"))
    app_s_key = aes_encrypt(app_key, (b"\x02" + seed).ljust(BLOCK, b"\x00"))
    return SessionKeys(nwk_s_key, app_s_key)


def allocate_dev_addr(net_id: int, slot: int, random_below: Callable[[int], int]) -> DevAddr:
    """A random DevAddr of this network whose own slot is `slot`, so that its frames reach the device's owner.

    `random_below(n)` returns an integer from 0 to n - 1, as `secrets.randbelow` does. The network's prefix is
    that of NetID type 0: one zero bit, then the six bits of NwkID.

    Raises:
        ValueError: the NetID is not of type 0, there is no such slot, or the source is not random.
    """
    if not 0 <= net_id <= _MAX_NONCE or net_id >> 21:
        raise ValueError(f"NetID {net_id:06x} is not of type 0")
    if not 0 <= slot < SLOTS:
        raise ValueError(f"slot {slot}, there are {SLOTS}")
    prefix = (net_id & 0x3F) << _NWK_ADDR_BITS
    for _ in range(_MAX_DRAWS):
        dev_addr = DevAddr((prefix | random_below(1 << _NWK_ADDR_BITS)).to_bytes(4))
        if slot_of_dev_addr(dev_addr) == slot:
            return dev_addr
    raise ValueError(f"no DevAddr of slot {slot} in {_MAX_DRAWS} draws: the source is not random")


def frequency_to_bytes(frequency_hz: int) -> bytes:
    """A frequency as frames carry it: 24 bits, little-endian, in steps of 100 Hz.

    Raises:
        ValueError: it is not a multiple of 100 Hz, or does not fit.
    """
    steps, rest = divmod(frequency_hz, FREQUENCY_STEP_HZ)
    if rest or not 0 <= steps <= _MAX_NONCE:
        raise ValueError(f"{frequency_hz} Hz is not a 24-bit number of {FREQUENCY_STEP_HZ} Hz steps")
    return steps.to_bytes(3, "little")
