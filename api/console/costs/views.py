"""Costs: what each contributor pays in a year and why, by what it is shared, and statements that were issued."""

from datetime import date
from decimal import Decimal, InvalidOperation
from itertools import groupby
from typing import Any

from fastapi import Response

from api.console.forms import checked, number_of
from api.console.navigation import marked
from api.console.pages import page_router
from api.console.visits import ManagersVisit, PersonsVisit, ReadersVisit
from api.fields import Id
from api.pages import Paging
from api.routes import cost as routes
from api.routes import cost_statements as statements
from api.routes.cost import CostContributorBody, CostEntryBody, CostItemBody, CostLineAnswer
from api.routes.cost_statements import CostIssueBody
from core.runtime.http.errors import Problem, invalid
from indicators.cost.formulas import euros
from indicators.cost.model import LEDGER, WHOLE

router = page_router()

PAGE = "/couts"
CONTRIBUTORS, ITEMS, LEDGER_PAGE, STATEMENTS = (
    f"{PAGE}/{part}" for part in ("contributeurs", "postes", "registre", "decomptes")
)
FIRST_YEAR, LAST_YEAR = 2000, 2199
SHOWN = 50
TO_SHOW = (409, 422)
BASES = {
    "equal": marked("à parts égales"),
    "inhabitants": marked("habitants"),
    "parts": marked("parts convenues"),
    "assets": marked("équipements"),
    "gateways": marked("passerelles"),
    "uplinks": marked("messages reçus"),
    "air_time_ms": marked("millisecondes d’antenne"),
    "exports": marked("exports"),
}
METHODS = {
    "key": marked("clé de répartition"),
    "rate": marked("tarif par unité"),
    "pro_rata": marked("prorata d’un tout"),
}
COUNTED = {
    "average": marked("la moyenne de l’année"),
    "year_end": marked("ce qui est là le 31 décembre"),
    "added": marked("ce qui est venu dans l’année"),
}
WORDS: dict[str, Any] = {"bases": BASES, "methods": METHODS, "counted": COUNTED, "euros": euros}


@router.get(PAGE)
async def show_year(visit: ReadersVisit) -> Response:
    """What each pays in a year, as it would be issued now."""
    return await _year(visit)


async def _year(visit: PersonsVisit, problem: Problem | None = None) -> Response:
    typed = number_of(visit.form.text("year") or visit.request.query_params.get("annee", ""))
    today = date.today()  # noqa: DTZ011 - Which year to begin with; any other can be chosen.
    year = typed if typed is not None and FIRST_YEAR <= typed <= LAST_YEAR else today.year
    drafted = await statements.draft_statement(year, visit.caller)
    issued = (await statements.list_statements(visit.caller, Paging(SHOWN))).items
    is_empty = not (await routes.list_cost_contributors(visit.caller)).items
    return visit.form_page(
        "costs/year.html",
        problem,
        year=year,
        drafted=drafted,
        by_contributor=by_contributor(drafted.lines),
        issued=issued,
        is_empty=is_empty and not drafted.lines,
        **WORDS,
    )


def by_contributor(lines: list[CostLineAnswer]) -> list[dict[str, Any]]:
    """Each contributor with its lines and their sum, by name."""
    ordered = sorted(lines, key=lambda line: (line.contributor, line.contributor_id, line.item))
    found: list[dict[str, Any]] = []
    for _, of_one in groupby(ordered, key=lambda line: line.contributor_id):
        own = list(of_one)
        total = sum(line.cents for line in own)
        found.append({"name": own[0].contributor, "id": own[0].contributor_id, "cents": total, "lines": own})
    return found


@router.post(PAGE)
async def issue(visit: ManagersVisit) -> Response:
    """Issue the statement of a year."""
    try:
        made: Any = await statements.issue_statement(visit.form.of(CostIssueBody), visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _year(visit, problem)
    return visit.go(
        f"{STATEMENTS}/{made.id}", visit.gettext("Le décompte est émis : chaque membre voit ses lignes.")
    )


@router.get(STATEMENTS + "/{id}")
async def show_statement(id: Id, visit: ReadersVisit) -> Response:  # noqa: A002 - The path's word.
    """A statement as it was issued: all of it, or one's own lines."""
    shown = await statements.read_statement(id, visit.caller)
    return visit.page(
        "costs/statement.html", statement=shown, by_contributor=by_contributor(shown.lines), home=PAGE, **WORDS
    )


@router.get(CONTRIBUTORS)
async def show_contributors(visit: ReadersVisit) -> Response:
    """Who bears a part, and the form for one more."""
    return await _contributors(visit)


async def _contributors(visit: PersonsVisit, problem: Problem | None = None) -> Response:
    found = (await routes.list_cost_contributors(visit.caller)).items
    return visit.form_page("costs/contributors.html", problem, contributors=found, home=PAGE, **WORDS)


@router.post(CONTRIBUTORS)
async def add_contributor(visit: ManagersVisit) -> Response:
    """One more, from a day on."""
    form = visit.form
    period = {name: form.text(name) for name in ("since", "until", "inhabitants") if form.text(name)}
    given = {name: form.text(name) for name in ("name", "member") if form.text(name)} | {"periods": [period]}
    try:
        await routes.create_cost_contributor(checked(CostContributorBody, given), visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _contributors(visit, problem)
    return visit.go(CONTRIBUTORS, visit.gettext("Le contributeur est ajouté."))


@router.get(ITEMS)
async def show_items(visit: ReadersVisit) -> Response:
    """What is paid, how it is shared, and the form for one more."""
    return await _items(visit)


async def _items(visit: PersonsVisit, problem: Problem | None = None) -> Response:
    found = (await routes.list_cost_items(visit.caller)).items
    return visit.form_page("costs/items.html", problem, items=found, home=PAGE, **WORDS)


@router.post(ITEMS)
async def add_item(visit: ManagersVisit) -> Response:
    """One more, from a year on."""
    try:
        await routes.create_cost_item(_item_of(visit), visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _items(visit, problem)
    return visit.go(ITEMS, visit.gettext("Le poste est ajouté."))


def _item_of(visit: PersonsVisit) -> CostItemBody:
    form = visit.form
    shares = [
        {"basis": basis, "share": hundredths_of(f"share_{basis}", form.text(f"share_{basis}"))}
        for basis in BASES
        if form.text(f"share_{basis}")
    ]
    plain = ("name", "first_year", "last_year", "method", "counted", "per", "flat_below", "subsidy_percent")
    given: dict[str, Any] = {name: form.text(name) for name in plain if form.text(name)}
    for field in ("amount", "flat"):
        if form.text(field):
            given[f"{field}_cents"] = hundredths_of(field, form.text(field))
    if given.get("method") != "key":
        shares = [share | {"share": WHOLE} for share in shares]
    return checked(CostItemBody, given | {"shares": shares})


def hundredths_of(field: str, text: str) -> int:
    """Cents of euros, or hundredths of a percent, as people write them; raises 422 for what is no such number."""
    written = "".join(text.split()).removesuffix("€").removesuffix("%").replace(",", ".")
    try:
        exact = Decimal(written) * 100
    except InvalidOperation:
        exact = Decimal("NaN")
    if not exact.is_finite() or exact != exact.to_integral_value() or abs(exact) > routes.MOST_CENTS:
        raise invalid(field, "number", "un nombre avec deux décimales au plus, par exemple 1234,50")
    return int(exact)


@router.get(LEDGER_PAGE)
async def show_ledger(visit: ReadersVisit) -> Response:
    """The last entries, and the form for one more."""
    return await _ledger(visit)


async def _ledger(visit: PersonsVisit, problem: Problem | None = None) -> Response:
    contributors: list[Any] = [*(await routes.list_cost_contributors(visit.caller)).items]
    return visit.form_page(
        "costs/ledger.html",
        problem,
        entries=(await routes.list_cost_entries(visit.caller, Paging(SHOWN))).items,
        names={str(one.id): one.name for one in contributors},
        written={basis: BASES[basis] for basis in LEDGER},
        home=PAGE,
        **WORDS,
    )


@router.post(LEDGER_PAGE)
async def add_entry(visit: ManagersVisit) -> Response:
    """One more line of the ledger, or the correction of one."""
    try:
        await routes.create_cost_entry(visit.form.of(CostEntryBody), visit.caller)
    except Problem as problem:
        if problem.status not in TO_SHOW:
            raise
        return await _ledger(visit, problem)
    return visit.go(LEDGER_PAGE, visit.gettext("L’écriture est au registre."))
