"""`territoire bench import`: on a stack of its own, in a process of its own."""

from dataclasses import asdict
from typing import Annotated

import typer

from cli.running import print_json, read_run
from lab.commands.bench import arguments, on_a_stack_of_its_own
from lab.commands.bench_console import bench_app
from lab.commands.options import CheckOption, JsonOption, RunningStackOption

CabinetsOption = Annotated[int, typer.Option(min=1, help="Armoires.")]
LampsOption = Annotated[int, typer.Option(min=1, help="Points lumineux.")]
OutlinesOption = Annotated[
    bool,
    typer.Option("--by-outlines", help="Communes d'après la position et les contours, non d'après le fichier."),
]


@bench_app.command("import")
def import_(
    cabinets: CabinetsOption = 3_900,
    lamps: LampsOption = 90_000,
    by_outlines: OutlinesOption = False,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """L'inventaire d'un syndicat par l'API, deux fois, puis la liste de chaque commune."""
    argv = arguments(cabinets=cabinets, lamps=lamps, by_outlines=by_outlines, check=check, json=as_json)
    raise typer.Exit(on_a_stack_of_its_own("import-load", argv, {}, ("api", "maintenance")))


@bench_app.command("import-load", hidden=True)
def import_load(
    home: RunningStackOption,
    cabinets: CabinetsOption = 3_900,
    lamps: LampsOption = 90_000,
    by_outlines: OutlinesOption = False,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """La mesure, dans son propre processus ; `bench import` la lance."""
    from lab.bench.imports import measure

    figures = measure(read_run(home), cabinets, lamps, by_outlines=by_outlines)
    if as_json:
        print_json(asdict(figures))
    else:
        print(
            f"{figures.cabinets} armoires et {figures.lamps} lampes en {figures.first_s:.1f} s "
            f"({figures.cpu_s:.1f} s de CPU de toute la pile), maintenance {figures.memory_mb:.0f} Mo ; "
            f"une seconde fois {figures.again_s:.1f} s, {figures.unchanged} déjà à jour ; "
            f"liste d'une commune p95 {figures.list_p95_ms:.0f} ms"
            + (f" ; {figures.placed} communes d'après les contours" if by_outlines else "")
        )
    raise typer.Exit(1 if check and not figures.is_reached else 0)
