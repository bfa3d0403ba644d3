"""Why a codec version is suspended. Pure."""

from enum import StrEnum


class SuspensionReason(StrEnum):
    """Why nobody runs a version; what else there is to say is the detail."""

    OVERRAN = "overran"
    """Five times in ten minutes it took more time or memory than a call may have."""
    OTHER = "other"
    """A text of before that is none of these: it is the detail."""
