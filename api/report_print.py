"""A monthly report on paper: A4, charts as vectors, drawn by the PDF's own lines and rectangles."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from api.printed import begin_document, latin, write_lines
from core.model.calendar_buckets import first_of
from indicators.reports.charts import BarChart, bar_chart
from indicators.reports.model import Change, Chart, Figure, Report, Section, Table
from indicators.reports.summary import change_lines, highlights, title_of, unknown_of
from indicators.reports.words import (
    CHARTS,
    FIGURES,
    SECTIONS,
    SHORT_MONTHS,
    TABLES,
    Language,
    amount_text,
    change_text,
    month_name,
    number,
    row_texts,
    said,
)

if TYPE_CHECKING:
    from fpdf import FPDF

LOGO_WIDTH_MM, LOGO_HEIGHT_MM = 40.0, 18.0
MARGIN_MM, WIDTH_MM = 15.0, 180.0
PAGE_END_MM = 272.0
CHART_HEIGHT_MM, AXIS_MM = 30.0, 16.0
CHART_ROOM_MM = CHART_HEIGHT_MM + 18
# A heading stays with what begins under it.
HEADING_ROOM_MM = 45.0
FIGURE_WIDTHS = (64, 34, 32, 32, 18)
FOOT_MOST = 110
HOW_TO_READ = (
    "inconnu : jamais compté comme zéro ; « 3 sur 5 » : la somme de trois ; un écart : si rien n’y manque",
    "unknown: never counted as zero; “3 of 5”: the sum of three; a change is given only where nothing is missing",
)
GREY, LIGHT, INK, OWN, OTHER = (95, 95, 95), (215, 215, 215), (20, 20, 20), (20, 90, 140), (150, 190, 215)


@dataclass(frozen=True, slots=True)
class Look:
    """Whose report it is, and when it was made, by the clocks there."""

    name: str
    language: Language
    logo: bytes | None
    made_at: datetime
    version: int


def printed(report: Report, changes: Sequence[Change], look: Look) -> bytes:
    """The PDF: what to remember, each section with its figures, charts and tables, how figures are found."""
    language = look.language
    pdf = begin_document(title_of(report, language), language=language)
    pdf.set_margins(MARGIN_MM, MARGIN_MM, MARGIN_MM)
    pdf.set_auto_page_break(auto=True, margin=297 - PAGE_END_MM)
    pdf.set_creation_date(look.made_at)
    _add_head(pdf, report, look)
    _add_summary(pdf, report, changes, language)
    for section in report.sections:
        _add_section(pdf, section, report, language)
    _add_formulas(pdf, report, language)
    _add_feet(pdf, report, look)
    return bytes(pdf.output())


def _add_head(pdf: "FPDF", report: Report, look: Look) -> None:
    language = look.language
    pdf.set_xy(MARGIN_MM, MARGIN_MM)
    if look.logo is not None:
        x = MARGIN_MM + WIDTH_MM - LOGO_WIDTH_MM
        pdf.image(
            io.BytesIO(look.logo), x, MARGIN_MM, LOGO_WIDTH_MM, LOGO_HEIGHT_MM, keep_aspect_ratio=True,
            alt_text=latin(look.name),
        )  # fmt: skip
        pdf.set_right_margin(MARGIN_MM + LOGO_WIDTH_MM + 5)
    pdf.set_text_color(*GREY)
    write_lines(pdf, look.name, 10, 5)
    pdf.set_text_color(*INK)
    month, place = title_of(report, language).split(said((" : ", ": "), language), 1)
    write_lines(pdf, month, 13, 7)
    write_lines(pdf, place, 17, 8, "B")
    pdf.set_text_color(*GREY)
    made = said(("Version {version}, faite le {at}", "Version {version}, made on {at}"), language)
    write_lines(pdf, made.format(version=look.version, at=_day(look.made_at, language)), 9, 5)
    pdf.set_text_color(*INK)
    pdf.set_right_margin(MARGIN_MM)
    pdf.set_y(max(pdf.get_y(), MARGIN_MM + (LOGO_HEIGHT_MM if look.logo is not None else 0)) + 3)


def _day(at: datetime, language: Language) -> str:
    if language == "en":
        return f"{at.day} {month_name(at.date(), language)}"
    return f"{at.day}{'er' if at.day == 1 else ''} {month_name(at.date(), language)}"


def _add_summary(pdf: "FPDF", report: Report, changes: Sequence[Change], language: Language) -> None:
    changed = change_lines(changes, language)
    if changed:
        head = ("Ce qui a changé depuis la version précédente", "What has changed since the version before")
        _add_list(pdf, said(head, language), changed)
    found = highlights(report, language)
    if not report.sections:
        nothing = ("Rien n’est suivi dans cette commune.", "Nothing is followed in this commune.")
        found = [said(nothing, language)]
    elif not found:
        quiet = (
            "Aucun chiffre ne s’écarte de 10 % du même mois de l’an passé, ou rien n’est connu de ce mois-là.",
            "No figure differs by 10 % from the same month last year, or nothing is known of that month.",
        )
        found = [said(quiet, language)]
    _add_list(pdf, said(("À retenir", "To remember"), language), found)
    unknown = unknown_of(report, language)
    if unknown:
        _add_list(
            pdf, said(("Ce que l’on ne sait pas ce mois-ci", "What is not known this month"), language), unknown
        )


def _add_list(pdf: "FPDF", head: str, lines: Sequence[str]) -> None:
    _keep_together(pdf, HEADING_ROOM_MM / 2)
    write_lines(pdf, head, 11, 6, "B")
    for line in lines:
        pdf.set_x(MARGIN_MM + 3)
        pdf.set_font("helvetica", size=9.5)
        pdf.multi_cell(WIDTH_MM - 3, 5, latin(f"\N{MIDDLE DOT} {line}"), align="L", new_x="LMARGIN", new_y="NEXT")
    pdf.ln(2)


def _add_section(pdf: "FPDF", section: Section, report: Report, language: Language) -> None:
    _keep_together(pdf, HEADING_ROOM_MM)
    pdf.ln(2)
    pdf.set_text_color(*OWN)
    write_lines(pdf, said(SECTIONS[section.id], language), 14, 8, "B")
    pdf.set_text_color(*INK)
    heads = [
        "",
        month_name(report.month, language).capitalize(),
        said(("Mois précédent", "Last month"), language),
        said(("Un an avant", "A year before"), language),
        said(("Sur un an", "In a year"), language),
    ]
    rows = [_figure_row(one, language) for one in section.figures]
    _add_table(pdf, [heads, *rows], FIGURE_WIDTHS)
    for chart in section.charts:
        _add_chart(pdf, chart, language)
    for table in section.tables:
        _add_rows(pdf, table, language)


def _figure_row(one: Figure, language: Language) -> list[str]:
    name = said(FIGURES[one.id].name, language)
    return [
        name if one.of_month else f"{name} *",
        amount_text(one.id, one.this, language),
        amount_text(one.id, one.last_month, language),
        amount_text(one.id, one.last_year, language),
        change_text(one.change_percent(one.last_year), language),
    ]


def _add_table(pdf: "FPDF", rows: Sequence[Sequence[str]], widths: Sequence[float]) -> None:
    pdf.set_font("helvetica", size=8.5)
    aligns = ("LEFT", *("RIGHT" for _ in widths[1:]))
    with pdf.table(
        col_widths=tuple(widths), text_align=aligns, line_height=4.2, padding=0.8, width=WIDTH_MM,
        borders_layout="HORIZONTAL_LINES",
    ) as table:  # fmt: skip
        for cells in rows:
            row = table.row()
            for text in cells:
                row.cell(latin(text))
    pdf.ln(3)


def _add_rows(pdf: "FPDF", table: Table, language: Language) -> None:
    name, columns = TABLES[table.id]
    _keep_together(pdf, HEADING_ROOM_MM / 1.5)
    write_lines(pdf, said(name, language), 10, 6, "B")
    others = (WIDTH_MM - 64) / (len(columns) - 1)
    heads = [said(column, language) for column in columns]
    rows = [row_texts(table.id, row, language) for row in table.rows]
    _add_table(pdf, [heads, *rows], (64, *(others for _ in columns[1:])))
    if table.more:
        more = said(("… et {more} autres", "… and {more} others"), language)
        write_lines(pdf, more.format(more=table.more), 8.5, 4)
        pdf.ln(2)


def _add_chart(pdf: "FPDF", chart: Chart, language: Language) -> None:
    _keep_together(pdf, CHART_ROOM_MM)
    write_lines(pdf, said(CHARTS[chart.id], language), 10, 6, "B")
    left, top = MARGIN_MM + AXIS_MM, pdf.get_y() + 2
    drawn = bar_chart(chart.values, WIDTH_MM - AXIS_MM, CHART_HEIGHT_MM)
    _add_lines(pdf, drawn, left, top, language)
    pdf.set_font("helvetica", size=7)
    for place, (bar, month) in enumerate(zip(drawn.bars, chart.months, strict=True)):
        middle = left + drawn.middles[place]
        if bar is None:
            _add_middle(pdf, middle, top + CHART_HEIGHT_MM - 5, "?")
        else:
            pdf.set_fill_color(*(OWN if place == len(chart.months) - 1 else OTHER))
            pdf.rect(left + bar.x, top + bar.y, bar.width, bar.height, style="F")
        first = first_of(month)
        year = f" {first.year}" if first.month == 1 or place == 0 else ""
        _add_middle(pdf, middle, top + CHART_HEIGHT_MM + 0.5, said(SHORT_MONTHS[first.month - 1], language) + year)
    pdf.set_fill_color(255)
    pdf.set_xy(MARGIN_MM, top + CHART_HEIGHT_MM + 6)
    if None in chart.values:
        unknown = (
            "? : mois inconnu, ou dont moins de choses sont connues",
            "?: unknown month, or less is known of it",
        )
        pdf.set_text_color(*GREY)
        write_lines(pdf, said(unknown, language), 7.5, 4)
        pdf.set_text_color(*INK)
    pdf.ln(2)


def _add_lines(pdf: "FPDF", drawn: BarChart, left: float, top: float, language: Language) -> None:
    pdf.set_font("helvetica", size=7)
    pdf.set_draw_color(*LIGHT)
    pdf.set_line_width(0.2)
    decimals = 0 if all(value == int(value) for _, value in drawn.lines) else 1
    for y, value in drawn.lines:
        pdf.line(left, top + y, left + drawn.width, top + y)
        pdf.set_xy(MARGIN_MM, top + y - 2)
        pdf.cell(AXIS_MM - 1.5, 4, latin(number(value, decimals, language)), align="R")


def _add_middle(pdf: "FPDF", middle: float, y: float, text: str) -> None:
    pdf.set_xy(middle - 8, y)
    pdf.cell(16, 4, latin(text), align="C")


def _add_formulas(pdf: "FPDF", report: Report, language: Language) -> None:
    """Only of what is in it: who asks how a figure is found turns to the last page."""
    if not report.sections:
        return
    _keep_together(pdf, HEADING_ROOM_MM)
    pdf.ln(2)
    write_lines(
        pdf, said(("Comment ces chiffres sont trouvés", "How these figures are found"), language), 11, 6, "B"
    )
    notes = [said(HOW_TO_READ, language)]
    if any(not one.of_month for section in report.sections for one in section.figures):
        notes.append(said(("* : à la date de ce rapport", "*: on the day of this report"), language))
    for section in report.sections:
        notes += [
            f"{said(SECTIONS[section.id], language)}, {said(FIGURES[one.id].name, language)}"
            f"{said((' :', ':'), language)} {said(FIGURES[one.id].formula, language)}"
            for one in section.figures
        ]
    pdf.set_text_color(*GREY)
    for note in notes:
        write_lines(pdf, note, 8, 4)
    pdf.set_text_color(*INK)


def _add_feet(pdf: "FPDF", report: Report, look: Look) -> None:
    pdf.set_auto_page_break(auto=False)
    pages = len(pdf.pages)
    for page in range(1, pages + 1):
        pdf.page = page
        pdf.set_xy(MARGIN_MM, 284)
        pdf.set_font("helvetica", size=8)
        pdf.set_text_color(*GREY)
        title = f"{look.name} - {title_of(report, look.language)}"
        pdf.cell(WIDTH_MM - 20, 5, latin(title if len(title) <= FOOT_MOST else title[: FOOT_MOST - 1] + "…"))
        pdf.cell(20, 5, f"{page} / {pages}", align="R")


def _keep_together(pdf: "FPDF", room_mm: float) -> None:
    """Go to the next page where there is less room than this."""
    if pdf.get_y() + room_mm > PAGE_END_MM:
        pdf.add_page()
