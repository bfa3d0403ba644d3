"""`territoire bench lists`: every list of the API, on a stack of its own."""

import asyncio
import sys
from typing import Annotated

import typer

from cli.running import print_json, read_run, tables
from lab.commands.bench import arguments, on_a_stack_of_its_own
from lab.commands.bench_exports import bench_app
from lab.commands.options import CheckOption, JsonOption, RunningStackOption, RunsOption

AssetsOption = Annotated[int, typer.Option(min=100, help="Actifs de la collectivité dont les listes sont lues.")]
PointsOption = Annotated[int, typer.Option(min=0, help="Points de la carte ; 0 : elle n'est pas mesurée.")]


@bench_app.command("lists")
def lists(
    assets: AssetsOption = 10_000,
    points: PointsOption = 100_000,
    runs: RunsOption = 20,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """Toutes les listes de l'API, par 50 et dans chaque ordre, et la carte de 100 000 points."""
    argv = arguments(assets=assets, points=points, runs=runs, check=check, json=as_json)
    raise typer.Exit(on_a_stack_of_its_own("lists-ask", argv, {}, ("api",)))


@bench_app.command("lists-ask", hidden=True)
def lists_ask(
    home: RunningStackOption,
    assets: AssetsOption = 10_000,
    points: PointsOption = 100_000,
    runs: RunsOption = 20,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """Les actifs et la mesure, dans leur propre processus ; `bench lists` les lance."""
    from lab.bench.list_pages import make_tenant, measure, print_figures

    async def make() -> list[str]:
        keys = [await make_tenant(run, "listes", "Listes", assets)]
        return [*keys, await make_tenant(run, "points", "Carte", points)] if points else keys

    run, shown = read_run(home), tables(beside_json=as_json)
    figures = measure(run, asyncio.run(make()), points, runs, shown)
    print_figures(shown, figures)
    if as_json:
        print_json(figures)
    for name in figures.missed:
        sys.stderr.write(f"territoire : objectif manqué : {name}\n")
    raise typer.Exit(1 if check and figures.missed else 0)
