"""Notifies systemd, for a service of Type=notify (sd_notify(3))."""

import os
import socket


def is_notified() -> bool:
    """Whether systemd runs us, and reads what `notify` sends."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def notify(state: str) -> None:
    """Send `READY=1`, `STOPPING=1`... to systemd; nothing without NOTIFY_SOCKET."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as systemd:
        # A leading @ is the kernel's own name space.
        systemd.sendto(state.encode(), f"\0{address[1:]}" if address.startswith("@") else address)
