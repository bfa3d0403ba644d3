"""What every PDF that we print has in common: the fonts that every reader has, which have Latin letters alone."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from fpdf import FPDF

TYPED = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "—": "-", "–": "-", "−": "-", "…": "...", "œ": "oe", "Œ": "OE",
     "€": "EUR", "\N{NARROW NO-BREAK SPACE}": "\N{NO-BREAK SPACE}"}
)  # fmt: skip
PDF = "application/pdf"


def latin(text: str) -> str:
    """The text in these fonts' letters; what else was typed becomes a question mark."""
    return text.translate(TYPED).encode("latin-1", "replace").decode("latin-1")


def begin_document(
    title: str, orientation: Literal["portrait", "landscape"] = "portrait", language: str = "fr"
) -> "FPDF":
    """An A4 document with its first page."""
    from fpdf import FPDF  # noqa: PLC0415 - Rarely used: it brings pillow and fonttools.

    pdf = FPDF(orientation=orientation, format="A4")
    pdf.set_title(latin(title))
    pdf.set_lang(language)
    pdf.add_page()
    return pdf


def write_lines(pdf: "FPDF", text: str, size: float, height: float, style: Literal["", "B", "I"] = "") -> None:
    """Text over the whole width, as many lines as it takes, then a new one."""
    pdf.set_font("helvetica", style=style, size=size)
    pdf.multi_cell(0, height, latin(text), align="L", new_x="LMARGIN", new_y="NEXT")
