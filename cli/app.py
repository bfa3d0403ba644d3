"""The commands. Each imports what it needs when it runs. `lab.app` adds those of a checkout."""

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.alarm import alarm
from cli.audit import audit_app
from cli.backup import backup
from cli.bi import bi_app
from cli.codec import codec_app
from cli.codec_confirm import add_confirm
from cli.codec_lab import add_lab
from cli.codec_propose import propose_file
from cli.codec_redecode import add_redecode
from cli.doctor import doctor
from cli.frames import frames
from cli.install import install
from cli.keys import keys_app
from cli.lns_import import export_app, import_app
from cli.measurements_export import export_measurements
from cli.monthly_report import report
from cli.people import people_app
from cli.person import person_app
from cli.pitr import pitr_app
from cli.reshard import reshard
from cli.restore import restore
from cli.running import default_home, fail, find_run
from cli.stations import stations_app
from cli.status import status

if TYPE_CHECKING:
    from services.supervisor.run_info import RunInfo

app = typer.Typer(
    name="territoire",
    help="La plateforme du territoire connecté.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

add_lab(codec_app)
add_redecode(codec_app)
codec_app.command("propose")(propose_file)
add_confirm(codec_app)
app.add_typer(codec_app, name="codec")
app.add_typer(import_app, name="import")
export_app.command("measurements")(export_measurements)
app.add_typer(export_app, name="export")
app.command("report")(report)
app.add_typer(keys_app, name="keys")
app.add_typer(people_app, name="people")
app.add_typer(bi_app, name="bi")
app.add_typer(stations_app, name="stations")
app.add_typer(person_app, name="person")
app.add_typer(audit_app, name="audit")
app.add_typer(pitr_app, name="pitr")

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
    """Options that stand before the name of a command."""


app.command()(alarm)
app.command()(backup)
app.command()(doctor)
app.command()(frames)
app.command()(install)
app.command()(reshard)
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
        str, typer.Option(help="Plusieurs répliques d'un service : network=2,ingest=2 ; nats=3 : bus en grappe.")
    ] = "",
    exit_after: ExitAfterOption = None,
    commit_timestamps: Annotated[
        bool, typer.Option("--commit-timestamps", hidden=True, help="Pour mesurer : l'instant de chaque commit.")
    ] = False,
) -> None:
    """Démarre la pile sur cette machine, pour de vraies passerelles. Ctrl-C arrête tout proprement."""
    from cli.session import run_stack_command
    from services.supervisor.stack_options import SERVICES, StackOptions

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
        postgres={"track_commit_timestamp": "on"} if commit_timestamps else {},
    )

    async def stay(run: "RunInfo", stopping: asyncio.Event) -> int:
        from rich.console import Console

        from cli.report import print_ready
        from cli.session import wait_for_the_end

        print_ready(Console(), run)
        return await wait_for_the_end(stopping, exit_after)

    run_stack_command(home or default_home("up"), options, stay)


def _replicas(text: str) -> dict[str, int]:
    """`network=2,ingest=2` as numbers."""
    from services.supervisor.stack_options import BUS, SERVICES

    counts: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        name, _, count = part.partition("=")
        known = (*SERVICES, BUS)
        if name not in known or not count.isdecimal() or not int(count):
            raise fail(f"--replicas {part} : attendu SERVICE=NOMBRE, parmi {', '.join(known)}", 2)
        counts[name] = int(count)
    return counts


@app.command()
def migrate(
    home: HomeOption = None,
    check: Annotated[
        bool, typer.Option("--check", help="Dit ce qui serait appliqué, ce que cela bloque et combien de temps.")
    ] = False,
) -> None:
    """Met le schéma à jour : la base de TERRITOIRE_DATABASE_URL, sinon celle de la pile qui tourne."""
    if "TERRITOIRE_DATABASE_URL" not in os.environ:
        run = find_run(home)
        os.environ |= {
            "TERRITOIRE_DATABASE_URL": run.database_admin_url,
            "TERRITOIRE_NATS_URL": run.nats_url,
        }
    if check:
        from cli.migration_check import check_or_exit

        asyncio.run(check_or_exit(os.environ["TERRITOIRE_DATABASE_URL"]))
    from services.migrate.__main__ import main as migrate_main

    migrate_main()


@app.command()
def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="Interpréteur de commandes.")],
) -> None:
    """Affiche de quoi compléter les commandes avec Tab : source <(./territoire completion bash)."""
    from cli.completions import script

    sys.stdout.write(script(shell))
