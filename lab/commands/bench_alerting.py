"""`territoire bench alerting`: on a stack of its own, in a process of its own."""

from typing import Annotated

import typer

from cli.running import fail, read_run
from lab.commands.bench import on_a_stack_of_its_own
from lab.commands.bench_network import bench_app
from lab.commands.options import CheckOption, JsonOption, RunningStackOption, SecondsOption

RateOption = Annotated[float, typer.Option(min=10, help="Mesures par seconde.")]


@bench_app.command()
def alerting(
    seconds: SecondsOption = 30.0,
    rate: RateOption = 2_000.0,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """Des mesures contre 50 règles d'une collectivité : CPU d'un cœur, délai jusqu'à la première tentative."""
    argv = ["--seconds", str(seconds), "--rate", str(rate)]
    argv += [name for name, given in (("--check", check), ("--json", as_json)) if given]
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
    import msgspec
    import uvloop
    from rich.console import Console

    from lab.bench.alerting import NotMeasured, is_reached, measure, print_table

    try:
        figures = uvloop.run(measure(read_run(home), seconds, rate))
    except NotMeasured as failed:
        raise fail(str(failed)) from None
    print_table(Console(stderr=as_json), figures)
    if as_json:
        print(msgspec.json.encode(figures).decode())
    raise typer.Exit(1 if check and not is_reached(figures) else 0)
