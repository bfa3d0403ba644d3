"""`territoire bench years`: on a stack of its own, which is stopped once its history is written."""

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.running import fail, log_apart, print_json, read_run, tables
from lab.commands.bench import arguments, own_process, temporary_home
from lab.commands.bench_indicators import bench_app
from lab.commands.options import CheckOption, JsonOption, RunningStackOption, RunsOption

if TYPE_CHECKING:
    from services.supervisor.run_info import RunInfo

YearsOption = Annotated[int, typer.Option(min=1, max=30, help="Années d'historique.")]
DevicesOption = Annotated[int, typer.Option(min=12, help="Équipements, à peu près.")]
# As in the history of 100 million: 10,000 assets make so many in a year.
MEASUREMENTS_A_YEAR = 10_000


@bench_app.command("years")
def years_of(
    years: YearsOption = 10,
    devices: DevicesOption = 100,
    runs: RunsOption = 7,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """Dix ans de cent équipements : démarrage, questions, rétention, doctor et sauvegarde."""
    from cli.session import REFUSALS, run_in_foreground, run_stack
    from services.supervisor.postgres import UNSAFE_AND_FAST
    from services.supervisor.stack_options import SERVICES, StackOptions

    def options(*services: str) -> StackOptions:
        return StackOptions("bench", "127.0.0.1", 0, "127.0.0.1", 0, services=services, postgres=UNSAFE_AND_FAST)

    with temporary_home("years") as home:
        before = str(home / "steps.json")

        async def load(run: "RunInfo", stopping: asyncio.Event) -> int:
            argv = arguments(home=run.home, years=years, devices=devices, steps=before)
            return await run_in_foreground(own_process("years-load", argv), dict(os.environ), stopping)

        began = 0.0

        async def ask(run: "RunInfo", stopping: asyncio.Event) -> int:
            started = time.monotonic() - began
            argv = arguments(
                home=run.home,
                years=years,
                started=f"{started:.2f}",
                runs=runs,
                steps=before,
                check=check,
                json=as_json,
            )
            return await run_in_foreground(own_process("years-ask", argv), dict(os.environ), stopping)

        try:
            status = asyncio.run(run_stack(home, options("api"), load))
            began = time.monotonic()
            status = status or asyncio.run(run_stack(home, options(*SERVICES), ask))
        except REFUSALS as refused:
            raise fail(str(refused)) from None
    raise typer.Exit(status)


StepsOption = Annotated[Path, typer.Option(help="Le fichier des étapes déjà mesurées.")]


@bench_app.command("years-load", hidden=True)
def years_load(
    home: RunningStackOption,
    steps: StepsOption,
    years: YearsOption = 10,
    devices: DevicesOption = 100,
) -> None:
    """L'historique et la rétention, dans leur propre processus ; `bench years` les lance."""
    import msgspec

    from lab.bench.years import retain
    from lab.history.load import HistoryRejected, load_history

    run = read_run(home)
    log_apart(run, "bench")
    try:
        measurements = MEASUREMENTS_A_YEAR * devices * years
        asyncio.run(load_history(run, measurements=measurements, years=years, console=tables(beside_json=True)))
    except HistoryRejected as refused:
        raise fail(str(refused)) from None
    steps.write_bytes(msgspec.json.encode(asyncio.run(retain(run))))


@bench_app.command("years-ask", hidden=True)
def years_ask(
    home: RunningStackOption,
    steps: StepsOption,
    started: Annotated[float, typer.Option(help="Secondes du démarrage.")] = 0.0,
    years: YearsOption = 10,
    runs: RunsOption = 7,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """Les questions, `doctor` et la sauvegarde, dans leur propre processus ; `bench years` les lance."""
    import msgspec
    import uvloop

    from lab.bench.queries import print_table
    from lab.bench.years import Step, examine, print_years

    console = tables(beside_json=as_json)
    former = msgspec.json.decode(steps.read_bytes(), type=list[Step])
    figures = uvloop.run(examine(read_run(home), years, started, former, runs, console))
    print_table(console, figures.queries)
    print_years(console, figures)
    if as_json:
        print_json(figures)
    for name in figures.missed:
        console.print(f"objectif manqué : {name}")
    raise typer.Exit(1 if check and figures.missed else 0)
