"""`territoire bench scaling` and `storage`: each on a stack of its own, in a process of its own."""

import asyncio
from typing import Annotated

import typer

from cli.running import fail, log_apart, print_json, read_run, tables
from core.runtime.errors import describe
from lab.commands.bench import arguments, on_a_stack_of_its_own
from lab.commands.bench_alerting import bench_app
from lab.commands.options import CopiesOption, DevicesOption, JsonOption, RunningStackOption, SecondsOption

RateOption = Annotated[float, typer.Option(min=10, help="Trames par seconde.")]
OnlyOption = Annotated[list[str] | None, typer.Option(help="Ne tue que les répliques de ce service ; répétable.")]
HistoryOption = Annotated[int, typer.Option(min=0, help="Mesures de l'historique dont on mesure les cumuls.")]


@bench_app.command()
def scaling(rate: RateOption = 400.0, only: OnlyOption = None, as_json: JsonOption = False) -> None:
    """Deux répliques de chaque service : partage de la charge, et kill -9 de chacune sous charge."""
    from services.supervisor.stack_options import SERVICES

    for name in only or ():
        if name not in SERVICES:
            raise fail(f"service inconnu : {name} ; connus : {', '.join(SERVICES)}", 2)
    argv = arguments(rate=rate, only=only, json=as_json)
    replicas: dict[str, int] = dict.fromkeys(SERVICES, 2)
    postgres = {"track_commit_timestamp": "on"}
    raise typer.Exit(on_a_stack_of_its_own("scaling-load", argv, postgres, replicas=replicas))


@bench_app.command("scaling-load", hidden=True)
def scaling_load(
    home: RunningStackOption,
    rate: RateOption = 400.0,
    only: OnlyOption = None,
    as_json: JsonOption = False,
) -> None:
    """La charge, les coups et la mesure, dans leur propre processus ; `bench scaling` les lance."""
    import uvloop

    from lab.bench.scaling import measure
    from lab.bench.scaling_report import VICTIMS, Options, print_scaling
    from lab.fleet.provision import ProvisioningFailed
    from lab.load.load import JoinsTakeTooLong

    console = tables(beside_json=as_json)
    run = read_run(home)
    log_apart(run, "bench")
    try:
        figures = uvloop.run(measure(run, Options(rate, victims=tuple(only or VICTIMS)), console))
    except (ProvisioningFailed, JoinsTakeTooLong, TimeoutError) as failed:
        raise fail(describe(failed)) from None
    print_scaling(console, figures)
    if as_json:
        print_json(figures)
    raise typer.Exit(1 if figures["wrong"] else 0)


@bench_app.command()
def storage(
    seconds: SecondsOption = 120.0,
    rate: RateOption = 2_000.0,
    devices: DevicesOption = 500,
    copies: CopiesOption = 1.0,
    history: HistoryOption = 1_000_000,
    as_json: JsonOption = False,
) -> None:
    """Octets par trame : tables, index, journal, bus ; mémoire de chaque service."""
    argv = arguments(seconds=seconds, rate=rate, devices=devices, copies=copies, history=history, json=as_json)
    raise typer.Exit(on_a_stack_of_its_own("storage-load", argv, {}))


@bench_app.command("storage-load", hidden=True)
def storage_load(
    home: RunningStackOption,
    seconds: SecondsOption = 120.0,
    rate: RateOption = 2_000.0,
    devices: DevicesOption = 500,
    copies: CopiesOption = 1.0,
    history: HistoryOption = 1_000_000,
    as_json: JsonOption = False,
) -> None:
    """La charge et la mesure, dans leur propre processus ; `bench storage` les lance."""
    import uvloop

    from lab.bench.storage import Options, measure, measure_history, print_storage
    from lab.fleet.provision import ProvisioningFailed
    from lab.history.load import HistoryRejected, load_history
    from lab.load.load import JoinsTakeTooLong

    console = tables(beside_json=as_json)
    run = read_run(home)
    log_apart(run, "bench")
    options = Options(devices, rate=rate, seconds=seconds, copies=copies)
    try:
        figures = uvloop.run(measure(run, options, console))
        if history:
            asyncio.run(load_history(run, measurements=history, console=console))
            figures["octets_per_row"] |= uvloop.run(measure_history(run))
    except (ProvisioningFailed, JoinsTakeTooLong, HistoryRejected) as failed:
        raise fail(str(failed)) from None
    print_storage(console, figures)
    if as_json:
        print_json(figures)
