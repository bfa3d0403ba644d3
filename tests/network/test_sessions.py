from lorawan.crypto import SessionCipher, SessionKeys
from lorawan.identifiers import DevAddr
from lorawan.mac_state import MacState
from lorawan.session import LastUplink, Session
from network.held_state import SessionTable
from network.sessions import HeldSession, Progress

CIPHER = SessionCipher(SessionKeys(bytes(16), bytes(16)))
MAC = MacState(0xFF)
ADDRESS, OTHER = DevAddr(b"\0\0\0\1"), DevAddr(b"\0\0\0\2")


def held(session_id: int, device_id: int = 1, dev_addr: DevAddr = ADDRESS, *, used: bool = False) -> HeldSession:
    last = LastUplink(0, b"", confirmed=False, time_us=0) if used else None
    return HeldSession(session_id, device_id, CIPHER, Progress(Session(dev_addr, last_uplink=last), MAC))


def test_devices_that_share_an_address_are_all_candidates() -> None:
    table = SessionTable()
    table.add_session(held(1, device_id=1))
    table.add_session(held(2, device_id=2))

    assert {session.device_id for session in table.of_dev_addr(ADDRESS)} == {1, 2}


def test_the_current_session_is_the_newest_that_was_used() -> None:
    table = SessionTable()
    for session in (held(3), held(1, used=True), held(2, dev_addr=OTHER, used=True)):
        table.add_session(session)

    current = table.current_of(1)

    assert current is not None
    assert current.id == 2


def test_the_first_use_of_a_session_closes_the_older_ones_only() -> None:
    table = SessionTable()
    for number in (1, 2, 3):
        table.add_session(held(number, dev_addr=DevAddr(bytes([0, 0, 0, number]))))

    table.close_older(1, 2)

    assert [session.id for session in table.of_device(1)] == [2, 3]
    assert table.of_dev_addr(DevAddr(b"\0\0\0\1")) == ()


def test_a_session_that_is_held_is_not_replaced() -> None:
    table = SessionTable()
    table.add_session(held(1, used=True))
    table.add_session(held(1))

    assert table.of_device(1)[0].progress.state.started
    assert len(table) == 1


def test_slots_that_are_lost_are_forgotten() -> None:
    table = SessionTable()
    first, second = held(1), held(2, dev_addr=OTHER)
    table.add_session(first)
    table.add_session(second)

    table.forget_slots([first.slot])

    assert [session.id for session in table.of_device(1)] == [2]


def test_advancing_a_session_that_was_let_go_changes_nothing() -> None:
    table = SessionTable()

    table.advance(7, Progress(Session(ADDRESS), MAC))

    assert 7 not in table


def test_a_setting_that_changed_while_an_uplink_was_judged_stays_changed() -> None:
    table = SessionTable()
    session = held(1)
    table.add_session(session)
    judged_before = Progress(Session(ADDRESS, f_cnt_up=8), MAC)

    table.set_skip_f_cnt(session.device_id, skip=True)
    table.advance(1, judged_before)

    assert (session.progress.state.skip_f_cnt, session.progress.state.f_cnt_up) == (True, 8)
