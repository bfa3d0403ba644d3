"""What every PDF that we print has in common: the fonts that every reader has, which have Latin letters alone."""

TYPED = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "—": "-", "–": "-", "−": "-", "…": "...", "œ": "oe", "Œ": "OE",
     "€": "EUR", "\N{NARROW NO-BREAK SPACE}": "\N{NO-BREAK SPACE}"}
)  # fmt: skip
PDF = "application/pdf"


def latin(text: str) -> str:
    """The text in these fonts' letters; what else was typed becomes a question mark."""
    return text.translate(TYPED).encode("latin-1", "replace").decode("latin-1")
