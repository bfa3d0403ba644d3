"""Letters without their accents: one meaning for names of fields and of communes. Pure."""

import unicodedata


def without_accents(text: str) -> str:
    """The text with its letters alone: É is E, ç is c."""
    return "".join(one for one in unicodedata.normalize("NFD", text) if not unicodedata.combining(one))
