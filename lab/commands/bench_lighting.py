"""`territoire bench lighting`: campaigns as discrete events, in real time, and what sweeping costs."""

import asyncio
from typing import Annotated

import typer

from cli.running import fail, log_apart, print_json, read_run
from lab.commands.bench import arguments, on_a_stack_of_its_own
from lab.commands.bench_imports import bench_app
from lab.commands.options import CheckOption, JsonOption, RunningStackOption

CabinetsOption = Annotated[int, typer.Option(min=20, help="Armoires.")]
GatewaysOption = Annotated[int, typer.Option(min=1, help="Passerelles.")]
RealCabinetsOption = Annotated[int, typer.Option(min=20, help="Armoires en temps réel, sur une passerelle.")]
RealOption = Annotated[
    bool,
    typer.Option(
        "--real-time",
        help="Seulement la même campagne en temps réel, par tous les services (20 minutes, 25 en tout), "
        "comparée aux événements discrets.",
    ),
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--only", help="overrides, programs, all-on ou sweep ; plusieurs fois : plusieurs ; absent : tout."
    ),
]


@bench_app.command()
def lighting(
    cabinets: CabinetsOption = 3_900,
    gateways: GatewaysOption = 24,
    real_time: RealOption = False,
    real_cabinets: RealCabinetsOption = 162,
    only: OnlyOption = None,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """Des campagnes d'éclairage sur 24 passerelles et 3 900 armoires, contre les objectifs.

    Événements discrets sur une horloge simulée, avec les décisions et les tables de la plateforme : forçages,
    programmes, tout allumer, une vingtaine de minutes chacune ; puis ce que coûte de relire 3 900 armoires chaque
    seconde.
    """
    argv = arguments(
        cabinets=cabinets,
        gateways=gateways,
        real_cabinets=real_cabinets,
        real_time=real_time,
        only=only,
        check=check,
        json=as_json,
    )
    services = () if real_time else ("lighting",)
    raise typer.Exit(on_a_stack_of_its_own("lighting-load", argv, {}, services))


@bench_app.command("lighting-load", hidden=True)
def lighting_load(
    home: RunningStackOption,
    cabinets: CabinetsOption = 3_900,
    gateways: GatewaysOption = 24,
    real_time: RealOption = False,
    real_cabinets: RealCabinetsOption = 162,
    only: OnlyOption = None,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """La mesure, dans son propre processus ; `bench lighting` la lance."""
    from dataclasses import asdict

    from rich.console import Console

    from lab.bench.lighting import PARTS, measure, measure_real_time
    from lab.fleet.provision import ProvisioningFailed
    from lab.lighting.report import print_figures

    run = read_run(home)
    log_apart(run, "bench")
    unknown = set(only or ()) - set(PARTS)
    if unknown:
        raise fail(f"--only : {', '.join(sorted(unknown))} ; parties : {', '.join(PARTS)}")
    console = Console(stderr=as_json)
    try:
        if real_time:
            measured = asyncio.run(measure_real_time(run, real_cabinets, console))
        else:
            measured = asyncio.run(measure(run, cabinets, gateways, only or PARTS, console))
    except ProvisioningFailed as failed:
        raise fail(str(failed)) from None
    for title, figures in measured.items():
        print_figures(console, title, figures)
    if as_json:
        print_json({title: [asdict(one) for one in figures] for title, figures in measured.items()})
    missed = any(one.is_reached is False for figures in measured.values() for one in figures)
    raise typer.Exit(1 if check and missed else 0)
