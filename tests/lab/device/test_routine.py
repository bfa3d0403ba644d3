import asyncio
from dataclasses import dataclass, field
from random import Random

import pytest

from lab.device import routine
from lab.device.application import Message
from lab.device.routine import join_and_send
from tests.lab.device.test_device import Recorder


@dataclass
class FakeDevice:
    """Has a session after so many requests, and makes everybody fall silent after so many uplinks."""

    silent: asyncio.Event
    joins_at: int
    silent_after: int
    application: Recorder = field(default_factory=Recorder)
    random: Random = field(default_factory=lambda: Random(1))
    session: object | None = None
    joins: int = 0
    sent: list[Message] = field(default_factory=list)

    def join(self, _now_us: int) -> None:
        self.joins += 1
        if self.joins == self.joins_at:
            self.session = object()
        if self.joins == self.silent_after:
            self.silent.set()

    def send(self, message: Message, _now_us: int) -> None:
        self.sent.append(message)
        if len(self.sent) == self.silent_after:
            self.silent.set()


@pytest.mark.parametrize(("joins_at", "silent_after", "joins", "sent"), [(3, 5, 3, 5), (9, 2, 2, 0)])
async def test_a_device_joins_until_it_has_a_session_and_sends_until_all_fall_silent(
    monkeypatch: pytest.MonkeyPatch, joins_at: int, silent_after: int, joins: int, sent: int
) -> None:
    monkeypatch.setattr(routine, "JOIN_ANSWER_S", 0)
    monkeypatch.setattr(routine, "JOIN_PAUSE_S", (0, 0))
    monkeypatch.setattr(routine, "FIRST_UPLINK_S", (0, 0))
    device = FakeDevice(asyncio.Event(), joins_at, silent_after)

    await join_and_send(device, device.silent, 0.0, 0.0)  # pyright: ignore[reportArgumentType]

    assert (device.joins, len(device.sent)) == (joins, sent)
