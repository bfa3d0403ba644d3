"""The table at the end."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from lab.chaos.outcome import RECOVERS_WITHIN_S, Outcome

STATUS = {"ok": "[green]oui[/]", "failed": "[red]NON[/]", "not_run": "[yellow]non exécuté[/]"}


def _seconds(value: float | None) -> str:
    return "jamais" if value is None else f"{value:.1f}".replace(".", ",")


def _recovery(outcome: Outcome) -> str:
    return "" if outcome.recovery_s is None else _seconds(outcome.recovery_s)


def chaos_table(outcomes: Sequence[Outcome]) -> Table:
    """One row per case; what differs is spelled out by `print_findings`."""
    table = Table(title="Rien de perdu, rien en double", title_justify="left")
    table.add_column("Cas")
    for heading in ("émises", "entendues", "à nous", "enregistrées", "doublons", "manquantes", "reprise (s)"):
        table.add_column(heading, justify="right")
    table.add_column("tient")
    for outcome in outcomes:
        account = outcome.account
        figures = (account.sent, account.heard, outcome.ours, account.stored, account.duplicates, account.missing)
        cells = [""] * len(figures) if outcome.not_run else [str(figure) for figure in figures]
        table.add_row(outcome.name, *cells, _recovery(outcome), STATUS[outcome.status])
    return table


def print_findings(console: Console, outcomes: Sequence[Outcome]) -> None:
    """Everything that is not as promised, and what else is worth knowing, case by case."""
    for outcome in outcomes:
        for line in _findings(outcome):
            console.print(f"{outcome.name} : {line}", highlight=False, markup=False)


def _findings(outcome: Outcome) -> list[str]:
    account = outcome.account
    if outcome.not_run:
        return [f"non exécuté : {outcome.not_run}"]
    lines = [", ".join(outcome.notes)] if outcome.notes else []
    if outcome.edge_dropped:
        lines.append(f"{outcome.edge_dropped} copies perdues au bord radio, comptées par le pont")
    if not outcome.drained:
        lines.append("les flux ne se sont pas vidés")
    if outcome.recoveries:
        each = ", ".join(f"{what} {_seconds(took)}" for what, took in outcome.recoveries.items())
        lines.append(f"reprise (s) : {each}")
    if outcome.recovered_late:
        lines.append(f"reprise en plus de {RECOVERS_WITHIN_S:.0f} s")
    for label, count in (
        ("inconnues", account.unexpected),
        ("non décodées", account.undecodable),
        ("compteurs de session revenus en arrière", outcome.counters_went_back),
    ):
        lines += [f"{label} : {count}"] if count else []
    lines += [f"pas prêt : {', '.join(outcome.unready)}"] if outcome.unready else []
    lines += [f"  {example}" for example in account.examples[:5] if not account.balances]
    lines += [f"  {difference}" for difference in outcome.differences[:5]]
    lines += [f"trace d'erreur de {name} : {' | '.join(ends)}" for name, ends in outcome.tracebacks.items()]
    return lines
