"""`territoire simulate --history` in the terminal: the bar, the summary, what to do when it was interrupted."""

import asyncio
import sys

from rich.console import Console

from cli.exit_codes import INTERRUPTED
from cli.running import print_json
from lab.history.load import HistoryRejected, Summary, load_history, remove_history
from services.supervisor.run_info import RunInfo


def run_history(
    run: RunInfo, *, measurements: int, years: int, workers: int, seed: str, remove: bool, as_json: bool
) -> int:
    """Write (or remove) the history; 0 when it is whole, 130 when it was interrupted, 1 when it was rejected."""
    console = Console(stderr=as_json)
    try:
        if remove:
            with console.status("Effacement de l'historique"):
                count = asyncio.run(remove_history(run))
            if as_json:
                print_json({"removed_datastreams": count})
            else:
                console.print(f"effacé : {count} séries")
            return 0
        loading = load_history(
            run, measurements=measurements, years=years, workers=workers, seed=seed, console=console
        )
        summary = asyncio.run(loading)
    except HistoryRejected as refused:
        sys.stderr.write(f"territoire : {refused}\n")
        return 1
    if as_json:
        print_json(summary)
    else:
        print_summary(console, summary)
    return 0 if summary.complete else INTERRUPTED


def print_summary(console: Console, summary: Summary) -> None:
    """For people."""
    console.print(
        f"du {summary.since} au {summary.until} (exclu) : {_french(summary.measurements)} mesures de "
        f"{_french(summary.datastreams)} séries et {_french(summary.assets)} actifs, "
        f"{_french(summary.rollup_hours)} heures et {_french(summary.rollup_days)} jours agrégés"
    )
    if not summary.complete:
        console.print("[yellow]interrompu[/yellow] : la même commande reprend ; --remove efface ce qui est écrit")
        return
    console.print(
        f"{summary.seconds:.0f} s, {_french(summary.rows_per_second)} mesures/s ; processeur par mesure : "
        f"{summary.client_us_per_row} µs pour les générer, {summary.server_us_per_row} µs pour PostgreSQL, "
        "agrégats compris"
    )


def _french(number: float) -> str:
    return f"{number:,}".replace(",", " ")
