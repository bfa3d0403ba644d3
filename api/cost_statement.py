"""A yearly statement on paper: A4, for each contributor its items with their formulas and its sum."""

from collections.abc import Sequence
from itertools import groupby
from zoneinfo import ZoneInfo

from api.printed import begin_document, latin, write_lines
from indicators.cost.formulas import euros
from indicators.cost.store import IssuedLine, IssuedStatement

HEADS = ("Poste", "Calcul", "Montant")
WIDTHS = (50, 100, 35)
PAGE_END_MM = 250


def printed(statement: IssuedStatement, lines: Sequence[IssuedLine], zone: ZoneInfo) -> bytes:
    """The PDF of those of its lines that the reader sees, by contributor, with the proof of the whole sum."""
    title = f"Décompte {statement.year} : {statement.issuer}"
    pdf = begin_document(title)
    write_lines(pdf, title, 16, 9, "B")
    for line in _facts(statement, lines, zone):
        write_lines(pdf, line, 10, 6)
    for _, of_one in groupby(lines, key=lambda line: line.contributor_id):
        items = list(of_one)
        if pdf.get_y() > PAGE_END_MM:
            pdf.add_page()
        pdf.ln(6)
        write_lines(pdf, items[0].contributor, 12, 7, "B")
        pdf.set_font("helvetica", size=9)
        with pdf.table(col_widths=WIDTHS, text_align=("LEFT", "LEFT", "RIGHT"), line_height=5, padding=1) as table:
            for cells in (HEADS, *_rows(items)):
                row = table.row()
                for text in cells:
                    row.cell(latin(text))
    return bytes(pdf.output())


def _facts(statement: IssuedStatement, lines: Sequence[IssuedLine], zone: ZoneInfo) -> list[str]:
    at = statement.issued_at.astimezone(zone)
    facts = [f"Version {statement.version}, émise le {at:%d/%m/%Y} par {statement.issued_by}"]
    if statement.remark:
        facts.append(f"Remarque : {statement.remark}")
    shown = sum(line.cents for line in lines)
    facts.append(f"Total des postes : {euros(statement.total_cents)} ; lignes de ce document : {euros(shown)}")
    return facts


def _rows(lines: Sequence[IssuedLine]) -> list[tuple[str, str, str]]:
    rows = [(line.item, line.formula, euros(line.cents)) for line in lines]
    return [*rows, ("Total", "", euros(sum(line.cents for line in lines)))]
