"""`territoire bench`: figures and ratios, each measured on a stack of its own."""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from cli.running import fail, log_apart, print_json, read_run, tables
from lab.commands.options import (
    CheckOption,
    CopiesOption,
    DevicesOption,
    ExplainOption,
    FramesOption,
    GatewaysOption,
    JsonOption,
    PacedOption,
    RunningStackOption,
    RunsOption,
    SecondsOption,
)

if TYPE_CHECKING:
    from services.supervisor.run_info import RunInfo

bench_app = typer.Typer(
    help="Mesure la plateforme sur cette machine, chaque fois sur une pile à elle.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RateOption = Annotated[
    float | None, typer.Option(min=10, help="Trames par seconde ; sinon le plus haut débit tenu est cherché.")
]


def own_process(command: str, argv: Sequence[str]) -> tuple[str, ...]:
    """How one of the benchmarks' hidden commands is started in a process of its own."""
    return sys.executable, "-P", "-m", "lab", "bench", command, *argv


def arguments(**options: object) -> list[str]:
    """These options as a command line has them: what is not given is left out, a list is repeated."""
    made: list[str] = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            made.append(option)
        elif isinstance(value, list):
            made += [part for one in cast(list[object], value) for part in (option, str(one))]
        elif value is not None and value is not False:
            made += [option, str(value)]
    return made


@contextmanager
def temporary_home(name: str) -> Generator[Path]:
    """A folder where PostgreSQL's account may enter too; it is gone afterwards, however that comes."""
    folder = Path(tempfile.mkdtemp(prefix=f"territoire-{name}-", dir="/var/tmp"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def on_a_stack_of_its_own(
    command: str,
    argv: Sequence[str],
    postgres: Mapping[str, str],
    services: tuple[str, ...] = (),
    replicas: Mapping[str, int] | None = None,
) -> int:
    """Start a stack, run one of our commands on it in a process of its own, stop it; the command's status.

    Of the services all are started, or those that are named, and one replica of each, or so many.
    """
    from cli.session import REFUSALS, run_in_foreground, run_stack
    from services.supervisor.stack_options import SERVICES, StackOptions

    options = StackOptions(
        "bench",
        "127.0.0.1",
        0,
        "127.0.0.1",
        0,
        services=services or SERVICES,
        replicas=replicas or {},
        postgres=postgres,
    )

    async def measure(run: "RunInfo", stopping: asyncio.Event) -> int:
        whole = own_process(command, ("--home", run.home, *argv))
        return await run_in_foreground(whole, dict(os.environ), stopping)

    with temporary_home("bench") as home:
        try:
            return asyncio.run(run_stack(home, options, measure))
        except REFUSALS as refused:
            raise fail(str(refused)) from None


@bench_app.command()
def ingest(
    seconds: SecondsOption = 30.0,
    rate: RateOption = None,
    devices: DevicesOption = 2_000,
    gateways: GatewaysOption = 120,
    copies: CopiesOption = 1.0,
    runs: RunsOption = 1,
    paced: PacedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Du datagramme à la mesure enregistrée : débit soutenu, CPU par processus, délais, plafond."""
    argv = arguments(
        seconds=seconds,
        devices=devices,
        gateways=gateways,
        copies=copies,
        runs=runs,
        rate=rate,
        paced=paced,
        json=as_json,
    )

    raise typer.Exit(on_a_stack_of_its_own("ingest-load", argv, {"track_commit_timestamp": "on"}))


@bench_app.command()
def feed(as_json: JsonOption = False) -> None:
    """Le fil des mesures : ce que coûte un lecteur, en part d'un cœur pour 10 000 valeurs par seconde."""
    services = ("api", "maintenance")
    raise typer.Exit(on_a_stack_of_its_own("feed-load", arguments(json=as_json), {}, services))


@bench_app.command("feed-load", hidden=True)
def feed_load(home: RunningStackOption, as_json: JsonOption = False) -> None:
    """La lecture et sa mesure, dans leur propre processus ; `bench feed` les lance."""
    from dataclasses import asdict

    from lab.bench.feed import measure_feed
    from services.supervisor.run_info import read_run_info

    cost = asyncio.run(measure_feed(read_run_info(home)))
    if as_json:
        print_json(asdict(cost) | {"cores_at_goal": cost.cores_at_goal})
        return
    print(
        f"{cost.values} valeurs en {cost.seconds:.1f} s ; par valeur {cost.api_us:.1f} us de l'API et "
        f"{cost.postgres_us:.1f} us de PostgreSQL : {cost.cores_at_goal:.2f} cœur pour 10 000 valeurs/s"
    )


@bench_app.command("ingest-load", hidden=True)
def ingest_load(
    home: RunningStackOption,
    seconds: SecondsOption = 30.0,
    rate: RateOption = None,
    devices: DevicesOption = 2_000,
    gateways: GatewaysOption = 120,
    copies: CopiesOption = 1.0,
    runs: RunsOption = 1,
    paced: PacedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Le générateur et la mesure, dans leur propre processus ; `bench ingest` les lance."""
    from rich.console import Console

    from lab.bench.ceiling import CeilingFailed
    from lab.bench.ingest import Options
    from lab.bench.ingest import run as run_bench
    from lab.fleet.provision import ProvisioningFailed
    from lab.load.load import JoinsTakeTooLong

    run = read_run(home)
    log_apart(run, "bench")
    options = Options(seconds, rate, devices, gateways, copies, runs, paced_only=paced)
    try:
        figures, is_exact = run_bench(run, options, Console(stderr=as_json))
    except (ProvisioningFailed, JoinsTakeTooLong, CeilingFailed) as failed:
        raise fail(str(failed)) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if as_json:
        print_json(figures)
    raise typer.Exit(0 if is_exact else 1)


@bench_app.command()
def queries(
    home: Annotated[
        Path | None, typer.Option(help="Pile qui tourne, avec un historique ; sinon une pile temporaire.")
    ] = None,
    measurements: Annotated[
        int, typer.Option(min=1, help="De l'historique de la pile temporaire ; 100_000_000 : celui de l'objectif.")
    ] = 20_000_000,
    runs: RunsOption = 7,
    explain: ExplainOption = False,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """Les questions de tous les jours sur deux ans de mesures, contre psql et contre les objectifs."""
    argv = arguments(measurements=measurements, runs=runs, explain=explain, check=check, json=as_json)
    if home is not None:
        queries_ask(home, 0, runs, explain, check, as_json)
    from services.supervisor.postgres import UNSAFE_AND_FAST

    # It is written for this run alone, and asked for afterwards by nobody who writes.
    postgres = {**UNSAFE_AND_FAST, "max_wal_size": "8GB", "autovacuum": "off"}
    raise typer.Exit(on_a_stack_of_its_own("queries-ask", argv, postgres, ("api",)))


@bench_app.command("queries-ask", hidden=True)
def queries_ask(
    home: RunningStackOption,
    measurements: Annotated[int, typer.Option(min=0, help="Historique à écrire d'abord ; 0 : il y est.")] = 0,
    runs: RunsOption = 7,
    explain: ExplainOption = False,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """L'historique et la mesure, dans leur propre processus ; `bench queries` les lance."""
    import uvloop

    from lab.bench.queries import ASSETS, YEARS, NoHistory, measure, print_table
    from lab.history.load import HistoryRejected, load_history

    console = tables(beside_json=as_json)
    run = read_run(home)
    try:
        if measurements:
            asyncio.run(load_history(run, measurements=measurements, assets=ASSETS, years=YEARS, console=console))
        figures = uvloop.run(measure(run, runs, console, explain=explain))
    except (HistoryRejected, NoHistory) as refused:
        raise fail(str(refused)) from None
    print_table(console, figures)
    if as_json:
        print_json({"queries": figures})
    raise typer.Exit(1 if check and not all(figure.reached for figure in figures) else 0)


@bench_app.command()
def decoders(
    seconds: Annotated[float, typer.Option(min=0.2, help="Durée de chaque mesure.")] = 2.0,
    runs: RunsOption = 5,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """Trames lues par seconde : décodeurs natifs, et scripts des fabricants par un processus."""
    from core.runtime.telemetry import configure_logs
    from lab.bench.decoders import Options, print_report, run

    console = tables(beside_json=as_json)
    configure_logs("bench", "bench", "json", "WARNING")
    figures, is_reached = run(Options(seconds, runs), console)
    if as_json:
        print_json(figures)
    else:
        print_report(console, figures)
    raise typer.Exit(1 if check and not is_reached else 0)


@bench_app.command()
def redecode(
    frames: FramesOption = 1_000_000,
    devices: DevicesOption = 500,
    as_json: JsonOption = False,
) -> None:
    """Trames enregistrées décodées à nouveau par seconde : par un décodeur natif, puis par un script."""
    argv = arguments(frames=frames, devices=devices, json=as_json)
    raise typer.Exit(on_a_stack_of_its_own("redecode-ask", argv, {}, ("maintenance",)))


@bench_app.command()
def takeover(
    downlinks: Annotated[
        int, typer.Option(min=1, max=1_800, help="Descendantes demandées pour une passerelle de chaque protocole.")
    ] = 1_000,
    as_json: JsonOption = False,
) -> None:
    """Des inconnus parlent au nom de passerelles vivantes, avant chaque descendante : aucune ne doit leur aller.

    C'est l'essai de tests/gateways/test_takeover.py, avec plus de descendantes.
    """
    from lab.bench.gateway_takeover import OWNERS, play, takeover_table

    figures = play(downlinks)
    if as_json:
        print_json(figures)
    else:
        tables(beside_json=False).print(takeover_table(figures))
    raise typer.Exit(0 if len(figures) == len(OWNERS) else 1)


@bench_app.command("redecode-ask", hidden=True)
def redecode_ask(
    home: RunningStackOption,
    frames: FramesOption = 1_000_000,
    devices: DevicesOption = 500,
    as_json: JsonOption = False,
) -> None:
    """La mesure, dans son propre processus ; `bench redecode` la lance."""
    from lab.bench.redecode import Options, run

    console = tables(beside_json=as_json)
    figures = run(read_run(home), Options(frames, devices), console)
    if as_json:
        print_json(figures)
    raise typer.Exit(0 if figures["reached"] else 1)


@bench_app.command("keys")
def keys_(
    keys: Annotated[int, typer.Option(min=100, help="Clés plantées, à resceller à chaque reprise.")] = 100_000,
    rate: Annotated[float, typer.Option(min=10, help="Trames par seconde pendant ce temps.")] = 1_000.0,
    seconds: SecondsOption = 30.0,
    rounds: Annotated[int, typer.Option(min=1, help="Allers et retours.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Resceller toutes les clés sous une autre clé de chiffrement, pendant que des trames arrivent."""
    argv = arguments(keys=keys, rate=rate, seconds=seconds, rounds=rounds, json=as_json)
    raise typer.Exit(on_a_stack_of_its_own("keys-load", argv, {"track_commit_timestamp": "on"}))


@bench_app.command("keys-load", hidden=True)
def keys_load(
    home: RunningStackOption,
    keys: Annotated[int, typer.Option()] = 100_000,
    rate: Annotated[float, typer.Option()] = 1_000.0,
    seconds: SecondsOption = 30.0,
    rounds: Annotated[int, typer.Option()] = 3,
    as_json: JsonOption = False,
) -> None:
    """La charge et la rotation, dans leur propre processus ; `bench keys` les lance."""
    from rich.console import Console

    from lab.bench.keys import Options, print_figures
    from lab.bench.keys import run as run_bench

    run = read_run(home)
    log_apart(run, "bench")
    figures = run_bench(run, Options(keys, rate, seconds, rounds=rounds), Console(stderr=as_json))
    if as_json:
        print_json(figures)
    else:
        print_figures(Console(), figures)
    raise typer.Exit(0 if figures.is_reached else 1)
