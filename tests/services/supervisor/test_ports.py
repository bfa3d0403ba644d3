"""Ports that a stack is given before its servers have bound them."""

from services.supervisor.ports import free_tcp_port


def test_no_port_is_given_twice_before_its_server_has_bound_it() -> None:
    # Of twelve thousand: by chance alone hardly ever all of them different.
    assert len({free_tcp_port() for _ in range(300)}) == 300
