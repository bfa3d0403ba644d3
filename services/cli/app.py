"""The commands. Each imports what it needs when it runs: `up` does not wait for the simulator."""

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from services.cli.backup import backup
from services.cli.bench_scaling import bench_app
from services.cli.chaos import chaos
from services.cli.codec import codec_app
from services.cli.codec_lab import add_lab
from services.cli.codec_redecode import add_redecode
from services.cli.doctor import doctor
from services.cli.image import check_image
from services.cli.install import install
from services.cli.lns_import import export_app, import_app
from services.cli.restore import restore
from services.cli.running import default_home, fail, find_run, log_apart
from services.cli.status import status

if TYPE_CHECKING:
    from services.cli.session import Body
    from services.run_info import RunInfo
    from services.supervisor.stack import StackOptions

app = typer.Typer(
    name="territoire",
    help="La plateforme du territoire connecté.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(bench_app, name="bench")
add_lab(codec_app)
add_redecode(codec_app)
app.add_typer(codec_app, name="codec")
app.add_typer(import_app, name="import")
app.add_typer(export_app, name="export")

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Dossier de la pile : base, flux, journaux, run.json.")
]
ExitAfterOption = Annotated[
    float | None, typer.Option("--exit-after", min=1, help="S'arrête de lui-même après ce nombre de secondes.")
]


def _show_version(asked: bool) -> None:
    if asked:
        from core import VERSION

        sys.stdout.write(f"territoire {VERSION}\n")
        raise typer.Exit


@app.callback()
def every_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Affiche la version.")
    ] = False,
) -> None:
    """What stands before the name of a command."""


app.command()(backup)
app.command()(chaos)
app.command("check-image")(check_image)
app.command()(doctor)
app.command()(install)
app.command()(restore)
app.command()(status)


@app.command()
def up(
    home: HomeOption = None,
    udp_host: Annotated[str, typer.Option(help="Adresse où les passerelles envoient.")] = "0.0.0.0",  # noqa: S104
    udp_port: Annotated[int, typer.Option(help="Port UDP des passerelles ; 0 : un port libre.")] = 1700,
    station_port: Annotated[
        int, typer.Option(help="Port TCP des passerelles LoRa Basics Station ; 0 : un port libre.")
    ] = 3001,
    api_host: Annotated[str, typer.Option(help="Adresse de l'API.")] = "127.0.0.1",
    api_port: Annotated[int, typer.Option(help="Port de l'API ; 0 : un port libre.")] = 8080,
    intake_host: Annotated[str, typer.Option(help="Adresse où les autres LNS envoient.")] = "127.0.0.1",
    intake_port: Annotated[int, typer.Option(help="Port HTTP des autres LNS ; 0 : un port libre.")] = 8081,
    services: Annotated[str | None, typer.Option(help="Seulement ces services, séparés par des virgules.")] = None,
    replicas: Annotated[
        str, typer.Option(help="Plusieurs répliques d'un service : network=2,ingest=2. Sinon une de chaque.")
    ] = "",
    exit_after: ExitAfterOption = None,
) -> None:
    """Démarre la pile sur cette machine, pour de vraies passerelles. Ctrl-C arrête tout proprement."""
    from services.supervisor.stack import SERVICES, StackOptions

    chosen = tuple(services.split(",")) if services else SERVICES
    unknown = [name for name in chosen if name not in SERVICES]
    if unknown:
        raise fail(f"service inconnu : {', '.join(unknown)} (possibles : {', '.join(SERVICES)})", 2)
    options = StackOptions(
        "up",
        udp_host,
        udp_port,
        api_host,
        api_port,
        chosen,
        _replicas(replicas),
        intake_host=intake_host,
        intake_port=intake_port,
        station_port=station_port,
    )

    async def stay(run: "RunInfo", stopping: asyncio.Event) -> int:
        from rich.console import Console

        from services.cli.report import print_ready
        from services.cli.session import wait_for_the_end

        print_ready(Console(), run)
        return await wait_for_the_end(stopping, exit_after)

    _run(home or default_home("up"), options, stay)


def _replicas(text: str) -> dict[str, int]:
    """`network=2,ingest=2` as numbers."""
    from services.supervisor.stack import SERVICES

    counts: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        name, _, count = part.partition("=")
        if name not in SERVICES or not count.isdecimal() or not int(count):
            raise fail(f"--replicas {part} : attendu SERVICE=NOMBRE, parmi {', '.join(SERVICES)}", 2)
        counts[name] = int(count)
    return counts


@app.command()
def demo(
    home: HomeOption = None,
    exit_after: ExitAfterOption = None,
    pace: Annotated[float, typer.Option(min=0.1, help="Divise les intervalles d'émission.")] = 1.0,
    udp_port: Annotated[int, typer.Option(help="Port UDP des passerelles ; 0 : un port libre.")] = 0,
    api_port: Annotated[int, typer.Option(help="Port de l'API ; 0 : un port libre.")] = 0,
) -> None:
    """Démarre la pile et met le parc pilote sur les ondes ; avec --exit-after, vérifie ses comptes.

    Avec --exit-after, le statut dit ce qu'il en est : 0, le compte est juste ;
    1, il ne l'est pas ; 4, rien n'est faux, mais tout n'a pas eu le temps
    d'arriver (machine lente : allongez --exit-after).
    """
    from services.supervisor.stack import StackOptions

    options = StackOptions("demo", "127.0.0.1", udp_port, "127.0.0.1", api_port)

    async def fly(run: "RunInfo", stopping: asyncio.Event) -> int:
        from services.cli.session import run_in_foreground

        argv = [sys.executable, "-P", "-m", "services.cli", "fleet", "--home", run.home, "--pace", str(pace)]
        argv += [] if exit_after is None else ["--exit-after", str(exit_after)]
        return await run_in_foreground(tuple(argv), dict(os.environ), stopping)

    _run(home or default_home("demo"), options, fly)


def _run(home: Path, options: "StackOptions", body: "Body") -> None:
    from core.runtime.environment import WRONG_SETTING, unknown_settings
    from services.cli.session import REFUSALS, run_stack
    from services.cli.settings_check import wrong_settings

    for unknown in unknown_settings():
        sys.stderr.write(f"territoire : attention, {unknown.french}\n")
    wrong = wrong_settings(options.services)
    if wrong:
        raise fail("rien n'est démarré.\n  " + "\n  ".join(wrong), WRONG_SETTING)
    try:
        status = asyncio.run(run_stack(home, options, body))
    except REFUSALS as refused:
        raise fail(str(refused)) from None
    raise typer.Exit(status)


@app.command(hidden=True)
def fleet(
    home: HomeOption = None,
    exit_after: ExitAfterOption = None,
    pace: float = 1.0,
) -> None:
    """Le parc de la démonstration, dans son propre processus ; `demo` la lance."""
    from rich.console import Console

    from services.cli.report import print_ready
    from services.simulator.demo import run as run_demo

    run, console = find_run(home), Console()
    log_apart(run, "fleet")
    ended_with = run_demo(
        run,
        exit_after=exit_after,
        pace=pace,
        console=console,
        started=lambda api_key: print_ready(console, run, api_key),
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
        from services.cli.history import run_history

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

    from services.simulator.main import run as run_simulation

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
def migrate(home: HomeOption = None) -> None:
    """Met le schéma à jour : la base de TERRITOIRE_DATABASE_URL, sinon celle de la pile qui tourne."""
    from services.migrate.__main__ import main as migrate_main

    if "TERRITOIRE_DATABASE_URL" not in os.environ:
        run = find_run(home)
        os.environ |= {
            "TERRITOIRE_DATABASE_URL": run.database_admin_url,
            "TERRITOIRE_NATS_URL": run.nats_url,
        }
    migrate_main()


@app.command()
def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="Interpréteur de commandes.")],
) -> None:
    """Affiche de quoi compléter les commandes avec Tab : source <(./territoire completion bash)."""
    from services.cli.completions import script

    sys.stdout.write(script(shell))


@app.command()
def check() -> None:
    """Vérifie le code sans l'exécuter : style, types, contrats d'import, liens des documents."""
    from services.cli.checks import run_checks
    from services.supervisor.stack import checkout

    raise typer.Exit(run_checks(checkout()))


@app.command("test", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def suite(
    context: typer.Context,
    unit: Annotated[
        bool, typer.Option("--unit", help="Seulement les tests qui n'ont besoin d'aucun serveur.")
    ] = False,
) -> None:
    """Exécute les tests ; ce qui suit (chemins, -k...) va à pytest. Les résultats : .test-results."""
    from services.cli.suite import run_tests
    from services.supervisor.stack import checkout

    raise typer.Exit(run_tests(checkout(), [word for word in context.args if word != "--"], unit=unit))
