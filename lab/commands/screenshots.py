"""`territoire screenshots`: a demonstration of its own, and a picture of every page of the console."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.running import fail, read_run
from lab.commands.bench import temporary_home
from lab.commands.options import RunningStackOption

if TYPE_CHECKING:
    from services.supervisor.run_info import RunInfo

FolderArgument = Annotated[Path, typer.Argument(metavar="DOSSIER", help="Où écrire les images (PNG).")]
# Faster than the demonstration itself: alerts and charts within a minute.
PACE = 2.0


def screenshots(folder: FolderArgument) -> None:
    """Photographie chaque page de la console : bureau et téléphone, thème clair et sombre.

    Démarre une démonstration à elle, attend ses données, puis l'arrête. Le statut est 1 quand une page manque.
    """
    from cli.session import REFUSALS, run_in_foreground, run_stack
    from services.supervisor.launch import Launch
    from services.supervisor.stack_options import StackOptions

    async def write_pictures(run: "RunInfo", stopping: asyncio.Event) -> int:
        lab = (sys.executable, "-P", "-m", "lab")
        fleet = Launch(
            (*lab, "fleet", "--home", run.home, "--pace", str(PACE)), env=os.environ, stop_signal=signal.SIGINT
        )
        with (run.logs / "fleet-output.log").open("wb") as output:
            flying = await asyncio.create_subprocess_exec(*fleet.argv, **fleet.arguments(output))
            try:
                argv = (*lab, "take-screenshots", str(folder.resolve()), "--home", run.home)
                return await run_in_foreground(argv, dict(os.environ), stopping)
            finally:
                if flying.returncode is None:
                    flying.send_signal(signal.SIGINT)
                await flying.wait()

    with temporary_home("screenshots") as home:
        try:
            status = asyncio.run(
                run_stack(home, StackOptions("demo", "127.0.0.1", 0, "127.0.0.1", 0), write_pictures)
            )
        except REFUSALS as refused:
            raise fail(str(refused)) from None
    raise typer.Exit(status)


def take_screenshots(folder: FolderArgument, home: RunningStackOption) -> None:
    """Les images, d'une démonstration qui tourne ; `screenshots` la lance."""
    from rich.console import Console

    from lab.browser import screenshots as pictures
    from lab.browser.chromium import BrowserMissing
    from lab.fleet.provision import ProvisioningFailed

    folder.mkdir(parents=True, exist_ok=True)
    try:
        missing = asyncio.run(pictures.take_screenshots(read_run(home), folder, Console()))
    except (BrowserMissing, pictures.DemonstrationLate, ProvisioningFailed) as refused:
        raise fail(str(refused)) from None
    for why in missing:
        sys.stderr.write(f"territoire : sans image : {why}\n")
    raise typer.Exit(1 if missing else 0)
