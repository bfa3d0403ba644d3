"""The command line of a checkout: the operator's commands, and those of the laboratory."""

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cli.app import app
from cli.running import default_home, fail, find_run, log_apart
from cli.up import ExitAfterOption, HomeOption, port_option
from lab.commands.bench_years import bench_app
from lab.commands.chaos import chaos
from lab.commands.image import check_image
from lab.commands.images import images
from lab.commands.release import release
from lab.commands.screenshots import screenshots, take_screenshots

if TYPE_CHECKING:
    from services.supervisor.run_info import RunInfo

app.add_typer(bench_app, name="bench")
app.command()(chaos)
app.command("check-image")(check_image)
app.command()(images)
app.command()(release)
app.command()(screenshots)
app.command("take-screenshots", hidden=True)(take_screenshots)


@app.command()
def demo(
    home: HomeOption = None,
    exit_after: ExitAfterOption = None,
    pace: Annotated[float, typer.Option(min=0.1, help="Divise les intervalles d'émission.")] = 1.0,
    udp_port: Annotated[int, port_option("Port UDP des passerelles")] = 0,
    api_port: Annotated[int, port_option("Port de l'API")] = 0,
) -> None:
    """Démarre la pile et met le parc pilote sur les ondes ; avec --exit-after, vérifie ses comptes.

    Avec --exit-after, le statut dit ce qu'il en est : 0, le compte est juste ;
    1, il ne l'est pas ; 4, rien n'est faux, mais tout n'a pas eu le temps
    d'arriver (machine lente : allongez --exit-after).
    """
    from cli.session import run_stack_command
    from services.supervisor.stack_options import StackOptions

    options = StackOptions("demo", "127.0.0.1", udp_port, "127.0.0.1", api_port)

    async def fly(run: "RunInfo", stopping: asyncio.Event) -> int:
        from cli.session import run_in_foreground

        argv = [sys.executable, "-P", "-m", "lab", "fleet", "--home", run.home, "--pace", str(pace)]
        argv += [] if exit_after is None else ["--exit-after", str(exit_after)]
        return await run_in_foreground(tuple(argv), dict(os.environ), stopping)

    run_stack_command(home or default_home("demo"), options, fly)


@app.command(hidden=True)
def fleet(
    home: HomeOption = None,
    exit_after: ExitAfterOption = None,
    pace: float = 1.0,
) -> None:
    """Le parc de la démonstration, dans son propre processus ; `demo` la lance."""
    from rich.console import Console

    from cli.report import print_ready
    from lab.fleet.people import VISITORS
    from lab.simulator.demo import PAGES
    from lab.simulator.demo import run as run_demo

    run, console = find_run(home), Console()
    visitors = {one.email: one.label for one in VISITORS}
    log_apart(run, "fleet")
    ended_with = run_demo(
        run,
        exit_after=exit_after,
        pace=pace,
        console=console,
        started=lambda api_key: print_ready(console, run, api_key, visitors, PAGES),
    )
    raise typer.Exit(ended_with)


@app.command()
def simulate(
    home: HomeOption = None,
    gateways: Annotated[int, typer.Option(min=1, help="Nombre de passerelles.")] = 4,
    devices: Annotated[int, typer.Option(min=1, help="Nombre de capteurs.")] = 100,
    rate: Annotated[float, typer.Option(min=0.01, help="Trames montantes par seconde, parc entier.")] = 5.0,
    exit_after: ExitAfterOption = None,
    history: Annotated[
        bool, typer.Option("--history", help="Écrit plutôt des années de mesures plausibles, d'un autre parc.")
    ] = False,
    measurements: Annotated[int, typer.Option(min=1, help="Avec --history : mesures en tout.")] = 100_000_000,
    years: Annotated[
        int,
        typer.Option(
            min=1,
            max=10,
            help="Avec --history : jusqu'à hier soir. Au-delà de 3 ans, la maintenance ne garde que les agrégats.",
        ),
    ] = 1,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Avec --history : processus qui écrivent.")] = 2,
    seed: Annotated[str, typer.Option(help="Avec --history : la même graine, les mêmes mesures.")] = "historique",
    remove: Annotated[bool, typer.Option("--remove", help="Avec --history : efface ce qui a été écrit.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Avec --history : le bilan, pour un programme.")] = False,
) -> None:
    """Fait parler un parc simulé à une pile qui tourne, ou (--history) lui écrit des années de mesures."""
    if not history and (remove or as_json):
        raise fail("--remove et --json ne vont qu'avec --history", 2)
    if history:
        from lab.commands.history import run_history

        raise typer.Exit(
            run_history(
                find_run(home),
                measurements=measurements,
                years=years,
                workers=workers,
                seed=seed,
                remove=remove,
                as_json=as_json,
            )
        )
    from rich.console import Console

    from lab.simulator.main import run as run_simulation

    run = find_run(home)
    log_apart(run, "simulate")
    ended_with = run_simulation(
        run,
        gateways=gateways,
        devices=devices,
        rate=rate,
        exit_after=exit_after,
        console=Console(),
    )
    raise typer.Exit(ended_with)


@app.command()
def check() -> None:
    """Vérifie le code sans l'exécuter : style, types, contrats d'import, liens des documents."""
    from lab.commands.checks import run_checks
    from services.supervisor.stack import checkout

    raise typer.Exit(run_checks(checkout()))


@app.command("test", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def suite(
    context: typer.Context,
    unit: Annotated[
        bool, typer.Option("--unit", help="Seulement les tests qui n'ont besoin d'aucun serveur.")
    ] = False,
    browser: Annotated[
        bool,
        typer.Option(
            "--browser", help="Ce que l'on regarde : la démonstration, la console dans un vrai navigateur."
        ),
    ] = False,
) -> None:
    """Exécute les tests ; ce qui suit (chemins, -k...) va à pytest. Les résultats : .test-results."""
    from lab.commands.suite import run_tests
    from services.supervisor.stack import checkout

    if unit and browser:
        raise fail("--unit et --browser ne vont pas ensemble", 2)
    arguments = [word for word in context.args if word != "--"]
    raise typer.Exit(run_tests(checkout(), arguments, unit=unit, browser=browser))
