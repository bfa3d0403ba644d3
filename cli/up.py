"""`territoire up`: the stack on one machine, as its command line or TERRITOIRE_OPTIONS of a server asks for it."""

import asyncio
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.french import in_french
from cli.running import default_home, fail

if TYPE_CHECKING:
    from services.supervisor.run_info import RunInfo
    from services.supervisor.stack_options import StackOptions

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Dossier de la pile : base, flux, journaux, run.json.")
]
ExitAfterOption = Annotated[
    float | None, typer.Option("--exit-after", min=1, help="S'arrête de lui-même après ce nombre de secondes.")
]


class WrongOptions(Exception):
    """Nothing would be started with them. The message says why, in French."""


def port_option(what: str) -> Any:
    """A number of a port, as typer reads it."""
    return typer.Option(min=0, max=65_535, help=f"{what} ; 0 : un port libre.")


def up(
    home: HomeOption = None,
    udp_host: Annotated[str, typer.Option(help="Adresse où les passerelles envoient.")] = "0.0.0.0",  # noqa: S104
    udp_port: Annotated[int, port_option("Port UDP des passerelles")] = 1700,
    station_port: Annotated[int, port_option("Port TCP des passerelles LoRa Basics Station")] = 3001,
    api_host: Annotated[str, typer.Option(help="Adresse de l'API.")] = "127.0.0.1",
    api_port: Annotated[int, port_option("Port de l'API")] = 8080,
    intake_host: Annotated[str, typer.Option(help="Adresse où les autres LNS envoient.")] = "127.0.0.1",
    intake_port: Annotated[int, port_option("Port HTTP des autres LNS")] = 8081,
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

    try:
        options = _start_options(
            udp_host=udp_host,
            udp_port=udp_port,
            station_port=station_port,
            api_host=api_host,
            api_port=api_port,
            intake_host=intake_host,
            intake_port=intake_port,
            services=services,
            replicas=replicas,
            commit_timestamps=commit_timestamps,
        )
    except WrongOptions as wrong:
        raise fail(str(wrong), 2) from None

    async def stay(run: "RunInfo", stopping: asyncio.Event) -> int:
        from rich.console import Console

        from cli.report import print_missing, print_ready
        from cli.session import wait_for_the_end

        print_ready(Console(), run)
        await print_missing(Console(), run)
        return await wait_for_the_end(stopping, exit_after)

    run_stack_command(home or default_home("up"), options, stay)


def read_start_options(text: str) -> "StackOptions":
    """TERRITOIRE_OPTIONS, as systemd cuts it into words and `up` reads these.

    Raises:
        WrongOptions: `up` would refuse them.
    """
    command = typer.Typer()
    command.command()(up)
    try:
        words = shlex.split(text)
    except ValueError:
        raise WrongOptions("un guillemet n'est pas fermé") from None
    try:
        chosen = typer.main.get_command(command).make_context("up", words, help_option_names=[]).params
    except typer.TyperException as refused:
        # Each that a command line raises has it.
        said = refused.format_message()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
        raise WrongOptions(in_french(str(said))) from None
    return _start_options(**{name: value for name, value in chosen.items() if name not in {"home", "exit_after"}})


def _start_options(
    *, services: str | None, replicas: str, commit_timestamps: bool, **ports: str | int
) -> "StackOptions":
    """The options of `up` by their names.

    Raises:
        WrongOptions: a service that there is not, or replicas that cannot be.
    """
    from services.supervisor.stack_options import StackOptions

    return StackOptions(
        "up",
        services=_services(services),
        replicas=_replicas(replicas),
        postgres={"track_commit_timestamp": "on"} if commit_timestamps else {},
        **ports,  # pyright: ignore[reportArgumentType] - Hosts are texts and ports are numbers: typer has seen to it.
    )


def _services(text: str | None) -> tuple[str, ...]:
    from services.supervisor.stack_options import SERVICES

    chosen = tuple(text.split(",")) if text else SERVICES
    unknown = [name for name in chosen if name not in SERVICES]
    if unknown:
        raise WrongOptions(f"service inconnu : {', '.join(unknown)} (possibles : {', '.join(SERVICES)})")
    return chosen


def _replicas(text: str) -> dict[str, int]:
    """`network=2,ingest=2` as numbers."""
    from services.supervisor.stack_options import BUS, SERVICES

    counts: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        name, _, count = part.partition("=")
        known = (*SERVICES, BUS)
        if name not in known or not count.isdecimal() or not int(count):
            raise WrongOptions(f"--replicas {part} : attendu SERVICE=NOMBRE, parmi {', '.join(known)}")
        counts[name] = int(count)
    return counts
