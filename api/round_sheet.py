"""The sheet that a driver takes along: A4, for each truck its stops in order, with boxes to tick."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from api.printed import latin
from api.round_words import CHOSEN_BY, LEFT_REASONS, SKIP_REASONS, amount, kilometres, title_of
from indicators.waste.rounds.store import RoundStop, WasteRound

HEADS = ("N°", "Heure", "Borne et adresse", "Niveau", "Vidée", "Non vidée, motif, remarque")
WIDTHS = (10, 15, 75, 17, 15, 53)
BOX = "[   ]"
PAGE_END_MM = 240


def printed(one: WasteRound, stops: Sequence[RoundStop], zone: ZoneInfo) -> bytes:
    """The PDF of those of its stops that the reader sees; each truck begins a page."""
    from fpdf import FPDF  # noqa: PLC0415 - Rarely used: it brings pillow and fonttools.

    pdf = FPDF(format="A4")
    pdf.set_title(latin(title_of(one)))
    pdf.set_lang("fr")
    visited = [stop for stop in stops if stop.position is not None]
    for truck, of_truck in groupby(visited, key=lambda stop: stop.truck):
        pdf.add_page()
        _print_head(pdf, one, f"Camion {truck}", [trip for trip in one.trips if trip["truck"] == truck])
        for number, of_trip in groupby(of_truck, key=lambda stop: stop.trip):
            trip = next(trip for trip in one.trips if (trip["truck"], trip["trip"]) == (truck, number))
            _print_trip(pdf, trip, list(of_trip), zone)
        _print_reasons(pdf)
    left = [stop for stop in stops if stop.position is None]
    if left or not visited:
        pdf.add_page()
        _print_head(pdf, one, "Bornes non desservies" if left else "Aucune borne à vider", [])
        _print_left(pdf, left)
    return bytes(pdf.output())


def _print_head(pdf: Any, one: WasteRound, what: str, trips: Sequence[dict[str, Any]]) -> None:
    pdf.set_font("helvetica", style="B", size=16)
    pdf.multi_cell(0, 9, latin(title_of(one)), new_x="LMARGIN", new_y="NEXT")
    facts = f"{what}, le {one.planned_for:%d/%m/%Y} de {one.opens_at:%H:%M} à {one.closes_at:%H:%M}"
    if trips:
        facts += f", {kilometres(sum(trip['metres'] for trip in trips))}"
    if one.state == "cancelled":
        facts += " - TOURNÉE ANNULÉE"
    pdf.set_font("helvetica", size=11)
    pdf.multi_cell(0, 6, latin(facts), new_x="LMARGIN", new_y="NEXT")


def _print_trip(pdf: Any, trip: dict[str, Any], stops: Sequence[RoundStop], zone: ZoneInfo) -> None:
    if pdf.get_y() > PAGE_END_MM:
        pdf.add_page()
    pdf.ln(4)
    leaves, unloads = (_hour(datetime.fromisoformat(trip[name]), zone) for name in ("leaves_at", "outlet_at"))
    said = f"Trajet {trip['trip']} : départ {leaves}, exutoire {unloads}"
    load = f"{_grouped(trip['volume_l'])} l, {_grouped(trip['weight_kg'])} kg attendus"
    pdf.set_font("helvetica", style="B", size=11)
    pdf.multi_cell(0, 7, latin(f"{said} ({load})"), new_x="LMARGIN", new_y="NEXT")
    pdf.set_font("helvetica", size=9)
    aligned = ("RIGHT", "CENTER", "LEFT", "RIGHT", "CENTER", "LEFT")
    with pdf.table(col_widths=WIDTHS, text_align=aligned, line_height=5, padding=1) as table:
        for cells in (HEADS, *(_row(stop, zone) for stop in stops)):
            row = table.row()
            for text in cells:
                row.cell(latin(text))


def _row(stop: RoundStop, zone: ZoneInfo) -> tuple[str, ...]:
    address = ", ".join(part for part in (stop.street, stop.commune) if part)
    level = "inconnu" if stop.level is None else f"{amount(stop.level)} %"
    hour = "" if stop.arrival is None else _hour(stop.arrival, zone)
    why = "" if stop.chosen_by == "threshold" else CHOSEN_BY[stop.chosen_by]
    lines = "\n".join(line for line in (stop.name, address, why) if line)
    return (str(stop.position), hour, lines, level, BOX, BOX)


def _grouped(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\N{NO-BREAK SPACE}")


def _print_reasons(pdf: Any) -> None:
    pdf.ln(4)
    pdf.set_font("helvetica", size=9)
    pdf.multi_cell(0, 5, latin(f"Motifs : {', '.join(SKIP_REASONS.values())}."), new_x="LMARGIN", new_y="NEXT")


def _print_left(pdf: Any, left: Sequence[RoundStop]) -> None:
    pdf.ln(4)
    pdf.set_font("helvetica", size=9)
    for stop in left:
        address = ", ".join(part for part in (stop.name, stop.street, stop.commune) if part)
        reason = LEFT_REASONS[stop.left_reason] if stop.left_reason is not None else ""
        pdf.multi_cell(0, 5, latin(f"{address} : {reason}"), align="L", new_x="LMARGIN", new_y="NEXT")


def _hour(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%H:%M}"
