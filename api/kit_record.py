"""The record of a kit's acceptance on paper: A4."""

import io
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from api.printed import begin_document, latin, write_lines

if TYPE_CHECKING:
    from fpdf import FPDF

HEADS = ("Ligne", "Actif", "Capteur", "Reçu", "RSSI", "Meilleure passerelle", "Position")
WIDTHS = (22, 50, 40, 34, 18, 50, 38)
PHOTO_WIDTH_MM = 60
LANDSCAPE_ROOM_MM = 190
LINE_MM = 4
SIGNATURES_MM = 40
SIGNERS = ("Pour l’installateur (nom, date, signature)", "Pour la collectivité (nom, date, signature)")


def printed(record: Mapping[str, Any], photos: Mapping[int, bytes], zone: ZoneInfo) -> bytes:
    """The PDF of a record as the API shows it, in local time; `photos`: JPEG files, by their item's place."""
    pdf = begin_document(f"Procès-verbal de recette, {record['site']}", "landscape")
    write_lines(pdf, f"Procès-verbal de recette : {record['site']}", 16, 9, "B")
    for line in _facts(record, zone):
        write_lines(pdf, line, 10, 6)
    pdf.ln(3)
    pdf.set_font("helvetica", size=8)
    with pdf.table(col_widths=WIDTHS, text_align="LEFT", line_height=LINE_MM, padding=1) as table:
        row = table.row()
        for head in HEADS:
            row.cell(latin(head))
        for item in record["items"]:
            row = table.row()
            for text in _cells(item, zone):
                row.cell(latin(text))
    _add_signatures(pdf)
    pdf.set_font("helvetica", size=8)
    for item in record["items"]:
        if item["place"] in photos:
            if pdf.get_y() + PHOTO_WIDTH_MM > LANDSCAPE_ROOM_MM:
                pdf.add_page()
            pdf.ln(4)
            pdf.multi_cell(0, 5, latin(f"{item['item']} : {item['asset'] or ''}"), new_x="LMARGIN", new_y="NEXT")
            pdf.image(
                io.BytesIO(photos[item["place"]]), w=PHOTO_WIDTH_MM, h=PHOTO_WIDTH_MM, keep_aspect_ratio=True
            )
        elif item["photo_id"] is not None:
            text = f"{item['item']} : photo n° {item['photo_id']}, trop lourde pour ce document"
            pdf.multi_cell(0, 5, latin(text), new_x="LMARGIN", new_y="NEXT")
    return bytes(pdf.output())


def _add_signatures(pdf: "FPDF") -> None:
    """Where those who accept it sign: together, on one page."""
    pdf.set_font("helvetica", size=10)
    if pdf.get_y() + SIGNATURES_MM > LANDSCAPE_ROOM_MM:
        pdf.add_page()
    pdf.ln(6)
    with pdf.table(col_widths=(1, 1), text_align="LEFT", first_row_as_headings=False, padding=2) as table:
        row = table.row(min_height=SIGNATURES_MM - 10)
        for who in SIGNERS:
            row.cell(latin(who), v_align="TOP")


def _facts(record: Mapping[str, Any], zone: ZoneInfo) -> list[str]:
    made_on = _day(record["created_at"], zone)
    made = f"Kit {record['template']}, version {record['version']}, mis en service le {made_on}"
    lines = [
        f"{made} par {record['created_by']}",
        f"Capteurs attendus : {record['expected']} ; reçus : {record['seen']}",
    ]
    if record["accepted_at"] is None:
        lines.append("Recette non prononcée.")
    else:
        lines.append(f"Recette prononcée le {_day(record['accepted_at'], zone)} par {record['accepted_by']}")
        lines.append(f"Réserves : {record['reservations'] or 'aucune'}")
    return lines


def _cells(item: Mapping[str, Any], zone: ZoneInfo) -> tuple[str, ...]:
    where = "" if item["latitude"] is None else f"{item['latitude']:.5f}, {item['longitude']:.5f}"
    seen = "attendu" if item["seen_at"] is None else _day(item["seen_at"], zone)
    level = "" if item["rssi"] is None else f"{item['rssi']:.0f} dBm"
    best = item["gateway"] or ("d'une autre collectivité" if item["gateways"] else "")
    return item["item"], item["asset"] or "", item["dev_eui"] or "", seen, level, best, where


def _day(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%d/%m/%Y %H:%M}"
