"""`territoire bench indicators`: what the figures cost that people decide by, on a stack of its own."""

import asyncio
import sys
from typing import Annotated

import typer

from cli.running import fail, log_apart, print_json, read_run, tables
from lab.commands.bench import arguments, on_a_stack_of_its_own
from lab.commands.bench_lists import bench_app
from lab.commands.options import CheckOption, JsonOption, RunningStackOption, RunsOption

MeasurementsOption = Annotated[
    int, typer.Option(min=10_000, help="De l'historique, deux ans ; 100_000_000 : celui des objectifs.")
]
OnlyOption = Annotated[
    list[str] | None, typer.Option("--only", help="Une partie de la mesure ; répétable ; absent : tout.")
]


@bench_app.command("indicators")
def indicators(
    measurements: MeasurementsOption = 20_000_000,
    only: OnlyOption = None,
    runs: RunsOption = 7,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """Les indicateurs sur deux ans de mesures : durée, processeur, psql et objectifs."""
    from lab.bench.indicators import PARTS

    if unknown := sorted(set(only or ()) - set(PARTS)):
        raise fail(f"--only : {', '.join(unknown)} ; parties : {', '.join(PARTS)}", 2)
    argv = arguments(measurements=measurements, runs=runs, only=only, check=check, json=as_json)
    postgres = {"track_commit_timestamp": "on", "max_wal_size": "8GB"}
    raise typer.Exit(on_a_stack_of_its_own("indicators-ask", argv, postgres, ("api", "ingest")))


@bench_app.command("indicators-ask", hidden=True)
def indicators_ask(
    home: RunningStackOption,
    measurements: MeasurementsOption = 20_000_000,
    only: OnlyOption = None,
    runs: RunsOption = 7,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """L'historique et la mesure, dans leur propre processus ; `bench indicators` les lance."""
    from lab.bench.indicators import PARTS, print_figures, run_bench
    from lab.bench.queries import ASSETS, YEARS, NoHistory
    from lab.fleet.provision import ProvisioningFailed
    from lab.history.load import HistoryRejected, load_history

    run, console = read_run(home), tables(beside_json=as_json)
    log_apart(run, "bench")
    try:
        asyncio.run(load_history(run, measurements=measurements, assets=ASSETS, years=YEARS, console=console))
        figures = run_bench(run, runs, only or PARTS)
    except (HistoryRejected, NoHistory, ProvisioningFailed) as refused:
        raise fail(str(refused)) from None
    print_figures(console, figures)
    if as_json:
        print_json(figures)
    for name in figures.missed:
        sys.stderr.write(f"territoire : objectif manqué : {name}\n")
    raise typer.Exit(1 if check and figures.missed else 0)


@bench_app.command("indicators-reports", hidden=True)
def indicators_reports(home: RunningStackOption) -> None:
    """Les rapports du mois écoulé, dans leur propre processus ; `bench indicators` le lance."""
    from lab.bench.indicator_reports import make_reports

    run = read_run(home)
    log_apart(run, "reports")
    print_json(asyncio.run(make_reports(run)))
