from hypothesis import given
from hypothesis import strategies as st

from lab.device.frames import data_frame
from lorawan.crypto import Direction, SessionCipher, SessionKeys
from lorawan.frame import UplinkFCtrl, UplinkFrame
from lorawan.identifiers import DevAddr
from lorawan.session import build_uplink

CIPHER = SessionCipher(SessionKeys(bytes(range(16)), bytes(range(16, 32))))
DEV_ADDR = DevAddr(bytes.fromhex("00a1b2c3"))


@given(
    f_cnt=st.integers(0, 0xFFFF_FFFF),
    f_port=st.integers(1, 223),
    payload=st.binary(min_size=1, max_size=200),
    confirmed=st.booleans(),
    ack=st.booleans(),
    f_opts=st.binary(max_size=15),
)
def test_a_frame_is_the_one_that_lorawan_builds(
    f_cnt: int, f_port: int, payload: bytes, confirmed: bool, ack: bool, f_opts: bytes
) -> None:
    phy_payload = data_frame(DEV_ADDR, CIPHER, f_cnt, f_port, payload, confirmed=confirmed, ack=ack, f_opts=f_opts)

    assert phy_payload == build_uplink(
        DEV_ADDR, CIPHER, f_cnt, f_port=f_port, payload=payload, confirmed=confirmed,
        f_ctrl=UplinkFCtrl(ack=ack), f_opts=f_opts,
    )  # fmt: skip


def test_a_network_reads_a_frame_checks_its_mic_and_finds_its_payload() -> None:
    phy_payload = data_frame(DEV_ADDR, CIPHER, 70_000, 85, b"\x01\x75\x5a")

    frame = UplinkFrame.from_bytes(phy_payload)
    assert (frame.dev_addr, frame.f_cnt, frame.f_port) == (DEV_ADDR, 70_000 & 0xFFFF, 85)
    assert CIPHER.verify_uplink(phy_payload, DEV_ADDR, 70_000)
    assert CIPHER.crypt(Direction.UP, DEV_ADDR, 70_000, 85, frame.frm_payload) == b"\x01\x75\x5a"
