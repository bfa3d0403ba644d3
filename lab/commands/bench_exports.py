"""`territoire bench exports`: on a stack of its own, in a process of its own."""

from typing import Annotated

import typer

from cli.running import print_json, read_run
from lab.commands.bench import arguments, on_a_stack_of_its_own
from lab.commands.bench_lighting import bench_app
from lab.commands.options import CheckOption, JsonOption, RunningStackOption

ReadingsOption = Annotated[int, typer.Option("--readings", min=1000, help="Mesures à exporter.")]
FormatsOption = Annotated[str, typer.Option("--formats", help="Formes de fichier, séparées par des virgules.")]


@bench_app.command()
def exports(
    readings: ReadingsOption = 10_000_000,
    formats: FormatsOption = "csv,ndjson,parquet",
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """Des fichiers de mesures : débit, mémoire, ce qu'en voient les autres, et qui télécharge lentement."""
    argv = arguments(readings=readings, formats=formats, check=check, json=as_json)
    raise typer.Exit(on_a_stack_of_its_own("exports-load", argv, {}, ("api", "maintenance")))


@bench_app.command("exports-load", hidden=True)
def exports_load(
    home: RunningStackOption,
    readings: ReadingsOption = 10_000_000,
    formats: FormatsOption = "csv,ndjson,parquet",
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """La mesure, dans son propre processus ; `bench exports` la lance."""
    import uvloop

    from lab.bench.exports import measure

    figures = uvloop.run(measure(read_run(home), readings, tuple(formats.split(","))))
    if as_json:
        print_json(figures)
    else:
        for one in figures.files:
            print(
                f"{one.form} : {one.readings} mesures en {one.seconds:.1f} s, {one.per_second:.0f}/s, "
                f"{one.octets / 1e6:.0f} Mo ; processeur par mesure {one.writer_us:.2f} us de qui écrit et "
                f"{one.postgres_us:.2f} us de PostgreSQL ; mémoire +{one.memory_mb:.0f} Mo ; "
                f"p95 des autres {one.others_p95_ms:.1f} ms (au repos {figures.rest_p95_ms:.1f})"
            )
        print(f"{figures.slow_clients} clients lents : {figures.held_connections} connexion(s) tenue(s)")
    raise typer.Exit(1 if check and not figures.is_reached else 0)
