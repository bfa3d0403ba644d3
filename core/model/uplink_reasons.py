"""Why an uplink could not be decoded, or gave no measurement. Pure."""

from enum import StrEnum


class UplinkReason(StrEnum):
    """A code; what the codec said itself is the detail beside it."""

    UNKNOWN_CODEC = "unknown_codec"
    """The detail is the number of the device profile that names it."""
    UNREADABLE = "unreadable"
    """The codec rejects the frame; the detail says why."""
    CODEC_FAILED = "codec_failed"
    """An error of the codec, which is the detail."""
    CODEC_SUSPENDED = "codec_suspended"
    """Nothing is wrong with the frame: it waits to be decoded again."""
    NO_WORKERS = "no_workers"
    """It waits, too: nobody ran the script in time."""
    NO_MAPPING = "no_mapping"
    """A script has read it, and the profile has no mapping."""
    NO_RULE_APPLIES = "no_rule_applies"
    TO_CONFIRM = "to_confirm"
    """What the mapping reads in it waits for a person."""
    NO_USABLE_VALUE = "no_usable_value"
    OTHER = "other"
    """A text of before that is none of these: it is the detail."""
