"""What is behind a device's radio: it makes payloads and acts on downlinks."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

# Different payloads of one device, prepared once: making them while playing would cost more than the radio.
PREPARED = 16


@dataclass(frozen=True, slots=True)
class Message:
    """What an application sends or receives."""

    f_port: int
    payload: bytes


class Application(Protocol):
    """The sensor behind the radio."""

    def next_message(self, now_us: int, /) -> Message:
        """What to send at the next interval."""
        ...

    def on_downlink(self, message: Message, now_us: int, /) -> Message | None:
        """Act on a downlink; what to answer at once, if anything."""
        ...


@dataclass(frozen=True, slots=True)
class Group:
    """The permanent class C multicast group that an application was given."""

    address: bytes
    nwk_s_key: bytes
    app_s_key: bytes
    first_f_cnt: int
    frequency_hz: int
    data_rate: int


@runtime_checkable
class GroupMember(Protocol):
    """An application that may be given a multicast group."""

    group: Group | None

    def on_group_message(self, message: Message, now_us: int, /) -> Message | None:
        """Act on a message to its group; what to answer within a quarter of an hour, if anything."""
        ...


class PreparedPayloads:
    """The payloads of another application, made beforehand and sent in turn: for loads, where each costs nothing.

    Their indexes do not move, so that they never fall when the first payload follows the last.
    """

    __slots__ = ("_next", "messages")

    def __init__(self, application: Application, now_us: int) -> None:
        self.messages = tuple(application.next_message(now_us) for _ in range(PREPARED))
        self._next = -1

    def next_message(self, _now_us: int) -> Message:
        """The next one."""
        self._next = number = (self._next + 1) % PREPARED
        return self.messages[number]

    def on_downlink(self, _message: Message, _now_us: int) -> Message | None:
        """Nothing to do."""
        return None
