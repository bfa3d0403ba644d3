"""Minutes of the day as people write them, and spans of them that may run over midnight."""

MINUTES = 24 * 60

Span = tuple[int, int]
"""The first minute and the first after."""


class MalformedHours(ValueError):
    """These are no hours of a day, or of a week; the message says why, in French."""


def minute_of(text: str) -> int:
    """The minute of the day of "HH:MM", up to "24:00".

    Raises:
        MalformedHours: it is no such text.
    """
    hour, colon, minute = text.partition(":")
    if not (colon and hour.isdecimal() and minute.isdecimal() and len(minute) == 2):  # noqa: PLR2004
        raise MalformedHours(f"« {text} » n'est pas une heure : HH:MM attendu")
    found = int(hour) * 60 + int(minute)
    if int(minute) > 59 or found > MINUTES:  # noqa: PLR2004
        raise MalformedHours(f"« {text} » n'est pas une heure du jour")
    return found


def within(minute: int, span: Span) -> bool:
    """Whether a minute of the day lies in a span that may run over midnight."""
    first, after = span
    return first <= minute < after if first <= after else minute >= first or minute < after
