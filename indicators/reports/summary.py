"""What of a report is worth a sentence, and the report as lines of a spreadsheet. Pure."""

from collections.abc import Sequence

from indicators.reports.model import Change, Figure, Report, Unknown
from indicators.reports.words import (
    FIGURES,
    SECTIONS,
    SERVICE_NAMES,
    TABLES,
    Language,
    amount_text,
    change_text,
    number,
    of_month,
    row_texts,
    said,
    unit_of,
    why,
)

HIGHLIGHTS_MOST = 5
WORTH_PERCENT = 10.0
# Nobody expects a figure there.
NO_GAP = {Unknown.NOTHING_THERE, Unknown.NO_BASELINE, Unknown.NOT_OF_THEN}
HEADS = {
    "fr": ("rubrique", "indicateur", "libelle", "valeur", "unite", "connus", "sur", "inconnu", "mois_precedent",
           "meme_mois_an_passe", "ecart_un_an_pourcent"),
    "en": ("section", "figure", "label", "value", "unit", "known", "of", "unknown", "last_month",
           "same_month_last_year", "change_in_a_year_percent"),
}  # fmt: skip


def title_of(report: Report, language: Language) -> str:
    """As "Rapport d’octobre 2026 : Landerneau"."""
    service = "" if report.service == "all" else f", {said(SERVICE_NAMES[report.service], language)}"
    if language == "en":
        return f"Report of {of_month(report.month, language)}: {report.commune}{service}"
    return f"Rapport {of_month(report.month, language)} : {report.commune}{service}"


def highlights(report: Report, language: Language) -> list[str]:
    """The figures that differ most from the same month a year before, the greatest difference first."""
    found: list[tuple[float, str]] = []
    for section in report.sections:
        for figure in section.figures:
            percent = figure.change_percent(figure.last_year)
            if percent is not None and abs(percent) >= WORTH_PERCENT:
                found.append((abs(percent), _sentence(section.id, figure, percent, language)))
    return [text for _, text in sorted(found, key=lambda one: -one[0])[:HIGHLIGHTS_MOST]]


def _sentence(section_id: str, figure: Figure, percent: float, language: Language) -> str:
    name, section = said(FIGURES[figure.id].name, language), said(SECTIONS[section_id], language)
    text = amount_text(figure.id, figure.this, language)
    in_a_year = said(("sur un an", "in a year"), language)
    colon = said((" :", ":"), language)
    return f"{section}, {_lower(name)}{colon} {text}, {change_text(percent, language)} {in_a_year}"


def _lower(name: str) -> str:
    return name[0].lower() + name[1:]


def unknown_of(report: Report, language: Language) -> list[str]:
    """What should be there and is not, each with why."""
    return [
        f"{said(SECTIONS[section.id], language)}, {_lower(said(FIGURES[one.id].name, language))} "
        f"({why(one.this.unknown, language)})"
        for section in report.sections
        for one in section.figures
        if one.this.value is None and one.this.unknown not in NO_GAP
    ]


def change_lines(changes: Sequence[Change], language: Language) -> list[str]:
    """Each change as a sentence."""
    colon = said((" :", ":"), language)
    instead = said(("au lieu de", "instead of"), language)
    nothing = said(("rien", "nothing"), language)
    lines: list[str] = []
    for one in changes:
        before, after = (
            nothing if amount is None else amount_text(one.id, amount, language)
            for amount in (one.before, one.after)
        )
        lines.append(f"{said(FIGURES[one.id].name, language)}{colon} {after} {instead} {before}")
    return lines


def csv_rows(report: Report, language: Language) -> list[list[str]]:
    """A line of names, one for each figure, and those of the tables below."""
    rows = [list(HEADS[language])]
    for section in report.sections:
        rows += [_csv_row(section.id, one, language) for one in section.figures]
    for section in report.sections:
        for table in section.tables:
            name, columns = TABLES[table.id]
            rows += [[], [said(name, language)], [said(column, language) for column in columns]]
            rows += [row_texts(table.id, row, language) for row in table.rows]
    return rows


def _csv_row(section_id: str, one: Figure, language: Language) -> list[str]:
    def plain(value: float | None) -> str:
        if value is None:
            return ""
        text = number(value, FIGURES[one.id].decimals, language)
        return text.replace(",", "") if language == "en" else "".join(text.split())

    others = [None if other is None else other.value for other in (one.last_month, one.last_year)]
    return [
        said(SECTIONS[section_id], language),
        one.id,
        said(FIGURES[one.id].name, language),
        plain(one.this.value),
        unit_of(one.id, language),
        "" if one.this.known is None else str(one.this.known),
        "" if one.this.of is None else str(one.this.of),
        "" if one.this.value is not None else why(one.this.unknown, language),
        *(plain(value) for value in others),
        change_text(one.change_percent(one.last_year), language).removesuffix(" %").replace("−", "-"),
    ]
