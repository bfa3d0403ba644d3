"""The commands. Each imports what it needs when it runs. `lab.app` adds those of a checkout."""

import asyncio
import os
import sys
from typing import Annotated, Literal

import typer

from cli.alarm import alarm
from cli.audit import audit_app
from cli.backup import backup
from cli.bi import bi_app
from cli.boundary import Commands
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
from cli.running import find_run
from cli.secrets import secrets_app
from cli.stations import stations_app
from cli.status import status
from cli.up import HomeOption, up

app = typer.Typer(
    cls=Commands,
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
app.add_typer(secrets_app, name="secrets")
app.add_typer(people_app, name="people")
app.add_typer(bi_app, name="bi")
app.add_typer(stations_app, name="stations")
app.add_typer(person_app, name="person")
app.add_typer(audit_app, name="audit")
app.add_typer(pitr_app, name="pitr")


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
app.command()(up)


@app.command()
def migrate(
    home: HomeOption = None,
    check: Annotated[
        bool, typer.Option("--check", help="Dit ce qui serait appliqué, ce que cela bloque et combien de temps.")
    ] = False,
) -> None:
    """Met le schéma à jour : la base de TERRITOIRE_DATABASE_URL, sinon celle de la pile qui tourne."""
    if "TERRITOIRE_DATABASE_URL" in os.environ:
        from cli.place import demand_addresses

        demand_addresses("TERRITOIRE_DATABASE_URL")
    else:
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
