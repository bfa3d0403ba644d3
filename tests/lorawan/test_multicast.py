from hypothesis import given
from hypothesis import strategies as st

from lorawan.airtime import Priority
from lorawan.crypto import Direction, SessionCipher, SessionKeys
from lorawan.frame import DownlinkFrame
from lorawan.identifiers import DevAddr
from lorawan.multicast import MemberReception, build_multicast, gateways_for, repeats_of
from lorawan.windows import COMFORTABLE_MARGIN_DB

CIPHER = SessionCipher(SessionKeys(bytes([1]) * 16, bytes([2]) * 16))
ADDRESS = DevAddr(bytes.fromhex("01020304"))


def member_reception(gateway: int, margin: float) -> MemberReception:
    return MemberReception(bytes([gateway]) * 8, margin)


def numbers(gateways: tuple[bytes, ...]) -> list[int]:
    return [gateway_id[0] for gateway_id in gateways]


def test_one_gateway_that_everybody_receives_well_is_enough() -> None:
    members = {
        1: [member_reception(1, 20.0), member_reception(2, 12.0)],
        2: [member_reception(2, 15.0)],
        3: [member_reception(3, 18.0), member_reception(2, 11.0)],
    }

    assert numbers(gateways_for(members)) == [2]


def test_a_member_that_is_received_badly_is_reached_by_its_best_gateway() -> None:
    members = {1: [member_reception(1, 3.0), member_reception(2, 1.0)], 2: [member_reception(2, 15.0)]}

    assert numbers(gateways_for(members)) == [1, 2]


def test_a_member_that_nobody_has_received_asks_for_no_gateway() -> None:
    assert gateways_for({1: [], 2: [member_reception(5, 2.0)]}) == (bytes([5]) * 8,)
    assert gateways_for({1: []}) == ()


margins = st.floats(-10, 40)
members_strategy = st.dictionaries(
    st.integers(0, 30),
    st.dictionaries(st.integers(0, 9), margins, max_size=5).map(
        lambda heard: [member_reception(gateway, margin) for gateway, margin in heard.items()]
    ),
)


@given(members_strategy)
def test_every_member_that_was_received_is_reached_and_no_gateway_is_asked_in_vain(
    members: dict[int, list[MemberReception]],
) -> None:
    chosen = gateways_for(members)

    assert len(set(chosen)) == len(chosen)
    alone: set[bytes] = set()
    for heard in members.values():
        good = {
            h.gateway_id
            for h in heard
            if h.margin >= COMFORTABLE_MARGIN_DB or h.margin == max(other.margin for other in heard)
        }
        assert not heard or good & set(chosen)
        alone |= good
    assert set(chosen) <= alone


@given(st.integers(0, 0xFFFF_FFFF), st.binary(min_size=1, max_size=100))
def test_a_member_reads_the_frame_with_the_groups_keys(f_cnt: int, payload: bytes) -> None:
    phy_payload = build_multicast(ADDRESS, CIPHER, f_cnt, f_port=10, payload=payload)
    frame = DownlinkFrame.from_bytes(phy_payload)

    assert CIPHER.verify_downlink(phy_payload, ADDRESS, f_cnt)
    assert CIPHER.crypt(Direction.DOWN, ADDRESS, f_cnt, 10, frame.frm_payload) == payload
    assert (frame.confirmed, frame.f_opts, frame.f_ctrl.to_byte()) == (False, b"", 0)
    assert phy_payload == build_multicast(ADDRESS, CIPHER, f_cnt, f_port=10, payload=payload)


def test_what_lights_in_an_emergency_is_repeated_more_often_and_never_less() -> None:
    assert [repeats_of(repeats, Priority.JOIN_OR_ACK) for repeats in (1, 2, 7)] == [5, 5, 7]
    assert [repeats_of(repeats, Priority.COMMAND) for repeats in (1, 2, 7)] == [1, 2, 7]
