"""`territoire bench console`: the console in Chromium, on a stack of its own."""

import asyncio
import sys
from typing import Annotated

import typer

from cli.running import fail, log_apart, print_json, read_run, tables
from lab.commands.bench import arguments, on_a_stack_of_its_own
from lab.commands.bench_isolation import bench_app
from lab.commands.options import CheckOption, JsonOption, RunningStackOption

FramesSecondsOption = Annotated[
    float, typer.Option("--seconds", min=10, help="Durée des trames en direct ; dix minutes pour l'objectif.")
]


@bench_app.command("console")
def console_(
    seconds: FramesSecondsOption = 600.0, check: CheckOption = False, as_json: JsonOption = False
) -> None:
    """La console dans Chromium : supervision, pages, carte de 10 000 équipements, trames en direct."""
    argv = arguments(seconds=seconds, check=check, json=as_json)
    raise typer.Exit(on_a_stack_of_its_own("console-load", argv, {}))


@bench_app.command("console-load", hidden=True)
def console_load(
    home: RunningStackOption,
    seconds: FramesSecondsOption = 600.0,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """Le navigateur et la mesure, dans leur propre processus ; `bench console` les lance."""
    from lab.bench.console import measure, print_figures
    from lab.browser.chromium import BrowserMissing
    from lab.fleet.provision import ProvisioningFailed
    from lab.load.load import JoinsTakeTooLong

    run, shown = read_run(home), tables(beside_json=as_json)
    log_apart(run, "bench")
    try:
        figures = asyncio.run(measure(run, seconds, shown))
    except (BrowserMissing, ProvisioningFailed, JoinsTakeTooLong) as failed:
        raise fail(str(failed)) from None
    print_figures(shown, figures)
    if as_json:
        print_json(figures)
    for name in figures.missed:
        sys.stderr.write(f"territoire : objectif manqué : {name}\n")
    raise typer.Exit(1 if check and figures.missed else 0)
