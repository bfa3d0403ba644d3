"""A report as the API answers it: figures with their names, units and formulas in the tenant's language."""

from typing import Any

from pydantic import Field

from api.fields import Answer, answer_of
from core.model.calendar_buckets import named
from indicators.reports.model import Amount, Change, Chart, Figure, Report, Section, Service, Table, Unknown
from indicators.reports.store import KeptReport
from indicators.reports.summary import change_lines, highlights, title_of, unknown_of
from indicators.reports.words import (
    CHARTS,
    FIGURES,
    SECTIONS,
    TABLES,
    Language,
    amount_text,
    change_text,
    row_texts,
    said,
    unit_of,
)


class AmountAnswer(Answer):
    """Un chiffre d'un mois."""

    value: float | None = Field(description="Null : inconnu, jamais zéro")
    known: int | None = Field(description="Combien de choses y sont comptées ; null : sans objet")
    of: int | None = Field(description="Sur combien")
    unknown: Unknown | None = Field(description="Pourquoi il n'y a pas de chiffre")
    text: str = Field(description="Comme on l'écrit", examples=["1 234 kWh (3 sur 5)"])


class FigureAnswer(Answer):
    """Une ligne d'un rapport."""

    id: str = Field(examples=["waste.days_above"])
    name: str
    unit: str
    this: AmountAnswer
    last_month: AmountAnswer | None
    last_year: AmountAnswer | None
    change_month_percent: float | None = Field(description="Null : tout n'est pas connu des deux mois")
    change_year_percent: float | None
    change_year: str
    of_month: bool = Field(description="Faux : dit ce qui en est à la date du rapport")
    formula: str


class ChartAnswer(Answer):
    """Un chiffre mois par mois."""

    id: str
    name: str
    months: list[str]
    values: list[float | None] = Field(description="Null : inconnu")


class TableAnswer(Answer):
    """Les premiers de beaucoup."""

    id: str
    name: str
    columns: list[str]
    rows: list[list[str | float | None]]
    texts: list[list[str]] = Field(description="Les mêmes, comme on les écrit")
    more: int = Field(description="Combien d'autres")


class SectionAnswer(Answer):
    """Ce qui va ensemble."""

    id: str
    name: str
    figures: list[FigureAnswer]
    charts: list[ChartAnswer]
    tables: list[TableAnswer]


class ReportContent(Answer):
    """Ce que dit un rapport."""

    commune: str
    insee: str | None
    service: Service
    month: str = Field(examples=["2026-10"])
    title: str
    highlights: list[str] = Field(description="Ce qui s'écarte le plus du même mois de l'an passé")
    unknown: list[str] = Field(description="Ce qui devrait être connu et ne l'est pas, avec la raison")
    sections: list[SectionAnswer]


class ReportAnswer(answer_of(KeptReport, {"month", "changed", "octets"})):
    """Une version d'un rapport ; elle ne change plus."""

    month: str = Field(examples=["2026-10"])
    changed: int = Field(description="Combien de chiffres diffèrent de la version précédente")
    octets: int = Field(description="Taille du PDF")
    is_latest: bool = Field(description="Aucune version ne la suit")


class ChangeAnswer(Answer):
    """Un chiffre que des données tardives ont changé."""

    id: str
    name: str
    before: AmountAnswer | None = Field(description="Null : il n'y en avait pas")
    after: AmountAnswer | None
    text: str


class WholeReportAnswer(ReportAnswer):
    """Une version d'un rapport, avec ce qu'elle dit."""

    highlights: list[str] = Field(description="Ce qui s'écarte le plus du même mois de l'an passé")
    unknown: list[str] = Field(description="Ce qui devrait être connu et ne l'est pas, avec la raison")
    changes: list[ChangeAnswer] = Field(description="Ce qui diffère de la version précédente")
    sections: list[SectionAnswer]


class ReportVersionAnswer(ReportAnswer):
    """Une version, et ce que des données tardives y ont changé."""

    changes: list[ChangeAnswer]


def kept_answer(row: KeptReport) -> ReportAnswer:
    """A version without what it says."""
    return ReportAnswer.model_validate(_kept(row))


def version_answer(row: KeptReport, changes: list[Change], language: Language) -> ReportVersionAnswer:
    """A version with what has changed."""
    return ReportVersionAnswer.model_validate(_kept(row) | {"changes": _changes(changes, language)})


def whole_answer(row: KeptReport, report: Report, changes: list[Change], language: Language) -> WholeReportAnswer:
    """A version with all that it says."""
    content = content_answer(report, language)
    said_of_it = {name: getattr(content, name) for name in ("highlights", "unknown", "sections")}
    return WholeReportAnswer.model_validate(_kept(row) | said_of_it | {"changes": _changes(changes, language)})


def _kept(row: KeptReport) -> dict[str, Any]:
    return {name: getattr(row, name) for name in KeptReport.__dataclass_fields__} | {"month": named(row.month)}


def content_answer(report: Report, language: Language) -> ReportContent:
    """What it says."""
    return ReportContent(
        commune=report.commune,
        insee=report.insee,
        service=report.service,
        month=report.month,
        title=title_of(report, language),
        highlights=highlights(report, language),
        unknown=unknown_of(report, language),
        sections=[_section(one, language) for one in report.sections],
    )


def _section(section: Section, language: Language) -> SectionAnswer:
    return SectionAnswer(
        id=section.id,
        name=said(SECTIONS[section.id], language),
        figures=[_figure(one, language) for one in section.figures],
        charts=[_chart(one, language) for one in section.charts],
        tables=[_table(one, language) for one in section.tables],
    )


def _figure(one: Figure, language: Language) -> FigureAnswer:
    change_year = one.change_percent(one.last_year)
    return FigureAnswer(
        id=one.id,
        name=said(FIGURES[one.id].name, language),
        unit=unit_of(one.id, language),
        this=_amount(one.id, one.this, language),
        last_month=None if one.last_month is None else _amount(one.id, one.last_month, language),
        last_year=None if one.last_year is None else _amount(one.id, one.last_year, language),
        change_month_percent=one.change_percent(one.last_month),
        change_year_percent=change_year,
        change_year=change_text(change_year, language),
        of_month=one.of_month,
        formula=said(FIGURES[one.id].formula, language),
    )


def _amount(id_: str, amount: Amount, language: Language) -> AmountAnswer:
    return AmountAnswer(
        value=amount.value,
        known=amount.known,
        of=amount.of,
        unknown=amount.unknown,
        text=amount_text(id_, amount, language),
    )


def _chart(one: Chart, language: Language) -> ChartAnswer:
    name = said(CHARTS[one.id], language)
    return ChartAnswer(id=one.id, name=name, months=list(one.months), values=list(one.values))


def _table(one: Table, language: Language) -> TableAnswer:
    name, columns = TABLES[one.id]
    return TableAnswer(
        id=one.id,
        name=said(name, language),
        columns=[said(column, language) for column in columns],
        rows=[list(row) for row in one.rows],
        texts=[row_texts(one.id, row, language) for row in one.rows],
        more=one.more,
    )


def _changes(changes: list[Change], language: Language) -> list[ChangeAnswer]:
    return [
        ChangeAnswer(
            id=one.id,
            name=said(FIGURES[one.id].name, language),
            before=None if one.before is None else _amount(one.id, one.before, language),
            after=None if one.after is None else _amount(one.id, one.after, language),
            text=text,
        )
        for one, text in zip(changes, change_lines(changes, language), strict=True)
    ]
