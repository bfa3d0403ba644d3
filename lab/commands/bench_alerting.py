"""`territoire bench alerting`, on a stack of its own, and `backtests`, which needs none."""

from typing import Annotated

import typer

from cli.running import fail, print_json, read_run, tables
from lab.commands.bench import arguments, on_a_stack_of_its_own
from lab.commands.bench_network import bench_app
from lab.commands.options import CheckOption, JsonOption, RunningStackOption, RunsOption, SecondsOption

RateOption = Annotated[float, typer.Option(min=10, help="Mesures par seconde.")]


@bench_app.command()
def alerting(
    seconds: SecondsOption = 30.0,
    rate: RateOption = 2_000.0,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """Des mesures contre 50 règles d'une collectivité : CPU d'un cœur, délai jusqu'à la première tentative."""
    argv = arguments(seconds=seconds, rate=rate, check=check, json=as_json)
    raise typer.Exit(on_a_stack_of_its_own("alerting-load", argv, {}, ("alerting",)))


@bench_app.command("alerting-load", hidden=True)
def alerting_load(
    home: RunningStackOption,
    seconds: SecondsOption = 30.0,
    rate: RateOption = 2_000.0,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """Le générateur et la mesure, dans leur propre processus ; `bench alerting` les lance."""
    import uvloop
    from rich.console import Console

    from lab.bench.alerting import NotMeasured, is_reached, measure, print_table

    try:
        figures = uvloop.run(measure(read_run(home), seconds, rate))
    except NotMeasured as failed:
        raise fail(str(failed)) from None
    print_table(Console(stderr=as_json), figures)
    if as_json:
        print_json(figures)
    raise typer.Exit(1 if check and not is_reached(figures) else 0)


@bench_app.command()
def backtests(
    traces: Annotated[int, typer.Option(min=1, help="Essais de trente jours ; 200 : ceux de l'objectif.")] = 200,
    runs: RunsOption = 3,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """Des règles essayées sur trente jours de mesures : CPU, contre une simple comparaison aux seuils."""
    from lab.bench.backtests import Options, print_table, run

    console = tables(beside_json=as_json)
    figures, is_reached = run(Options(traces, runs), console)
    print_table(console, figures)
    if as_json:
        print_json(figures)
    raise typer.Exit(1 if check and not is_reached else 0)
