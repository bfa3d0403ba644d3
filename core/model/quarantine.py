"""What is kept in quarantine, and why. Pure."""

from enum import StrEnum
from typing import NamedTuple


class QuarantineReason(StrEnum):
    """Why no row can be made of something that came by the bus or from another system."""

    UNREADABLE_BATCH = "unreadable_batch"
    """A message of the bus that is no batch of ours."""
    UNREADABLE_MESSAGE = "unreadable_message"
    """Another system's message that its adapter cannot read."""
    IMPOSSIBLE_FIELD = "impossible_field"
    UNKNOWN_DEVICE = "unknown_device"
    """The device was removed since."""
    REFUSED_VALUE = "refused_value"
    """The database rejects it."""
    DEFECT = "defect"
    """An error of ours."""
    POISON = "poison"
    """In hand each time that the service ended, which the detail counts; nobody looked at it again."""
    OTHER = "other"
    """A text of before that is none of these: it is the detail."""


class Quarantined(NamedTuple):
    """One item; `detail` is what the code or the other system said of it."""

    subject: str
    sequence: int
    reason: QuarantineReason
    data: bytes
    detail: str = ""
