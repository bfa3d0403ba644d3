"""What of two levels of a bin says that it was emptied: one meaning for alerts and for indicators. Pure."""

# Percentage points less than before, and what may be left.
EMPTYING_DROP = 40.0
EMPTIED_AT_MOST = 25.0


def was_emptied(before: float, after: float) -> bool:
    """Whether a bin that was at one level and is at another was emptied in between."""
    return before - after >= EMPTYING_DROP and after <= EMPTIED_AT_MOST
