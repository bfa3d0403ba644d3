"""`territoire codec failed|redecode|redecodes`: frames that failed, and stored frames decoded again."""

import sys
import time
from typing import Annotated, Any

import typer

from cli.api_client import REFUSED, ApiClient, HomeOption, JsonOption, KeyOption, UrlOption, api_session
from cli.running import fail, print_json

ASK_EVERY_S = 1.0
EUI_DIGITS = 16
ENDED = {"done": 0, "failed": 1, "cancelled": 1}
STATES = {
    "waiting": "en attente",
    "running": "en cours",
    "done": "terminé",
    "failed": "échoué",
    "cancelled": "arrêté",
}

FromOption = Annotated[str | None, typer.Option("--from", help="Premier instant, ISO 8601 avec le fuseau.")]
ToOption = Annotated[str | None, typer.Option("--to", help="Instant de fin, exclu ; absent : maintenant.")]
DeviceOption = Annotated[str | None, typer.Option("--device", help="DevEUI du capteur.")]
ProfileOption = Annotated[int | None, typer.Option("--profile", help="Les capteurs de ce profil.")]


def add_redecode(codec_app: typer.Typer) -> None:
    """These commands, beside those of catalogues and of the lab."""
    codec_app.command("failed")(failed)
    codec_app.command("redecode")(redecode)
    codec_app.command("redecodes")(redecodes)


def failed(
    since: FromOption = None,
    until: ToOption = None,
    device: DeviceOption = None,
    profile: ProfileOption = None,
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Les trames qu'aucun décodeur n'a su lire, par capteur et par raison ; sans --from, depuis 30 jours."""
    query = {"from": since, "to": until, "dev_eui": device, "device_profile_id": profile}
    asked = {name: value for name, value in query.items() if value is not None}
    with api_session(api_key, url, home) as api:
        items: list[dict[str, Any]] = api.get("/v1/failed-frames", **asked)["items"]
    if as_json:
        print_json(items)
        return
    show_failed(items)


def redecode(
    device: DeviceOption = None,
    profile: ProfileOption = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="Tous les capteurs de la collectivité.")
    ] = False,
    since: FromOption = None,
    until: ToOption = None,
    codec: Annotated[str | None, typer.Option(help="Un décodeur intégré, par son nom.")] = None,
    version: Annotated[
        int | None,
        typer.Option("--version", help="Le numéro d'une version publiée ; sans rien : celle du profil."),
    ] = None,
    only_failed: Annotated[bool, typer.Option("--only-failed", help="Seulement les trames illisibles.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Ne pas attendre la fin.")] = False,
    cancel: Annotated[int | None, typer.Option(help="Arrêter plutôt celui de ce numéro.")] = None,
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Décode à nouveau des trames enregistrées. 0 : terminé ; 1 : échoué ou arrêté ; 2 : refusé.

    Ctrl-C n'arrête que l'attente : le travail continue.
    """
    with api_session(api_key, url, home) as api:
        if cancel is not None:
            job = api.post(f"/v1/redecodes/{cancel}/cancel", {})
        else:
            if [device is not None, profile is not None, everything].count(True) != 1:
                raise fail("donnez --device, --profile ou --everything", REFUSED)
            body = {
                "dev_eui": device, "device_profile_id": profile, "from": since, "to": until, "codec": codec,
                "codec_version_id": version, "only_failed": only_failed,
            }  # fmt: skip
            job = api.post("/v1/redecodes", body)
            job = job if detach else _wait_for_job(api, job, quiet=as_json)
    if as_json:
        print_json(job)
    else:
        _show([job])
    raise typer.Exit(0 if cancel is not None else ENDED.get(job["state"], 0))


def redecodes(
    api_key: KeyOption = None, url: UrlOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Les derniers, et où ils en sont."""
    with api_session(api_key, url, home) as api:
        jobs: list[dict[str, Any]] = api.get("/v1/redecodes", limit=50)["items"]
    if as_json:
        print_json(jobs)
    else:
        _show(jobs)


def _wait_for_job(api: ApiClient, job: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """The job once it has ended, its progress shown meanwhile."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} trames"),
        TimeRemainingColumn(),
    )
    hidden = quiet or not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=hidden, transient=True) as progress:
        task = progress.add_task(f"Décodage {job['id']}", total=1)
        while job["state"] not in ENDED:
            time.sleep(ASK_EVERY_S)
            number = job["id"]
            job = api.get(f"/v1/redecodes/{number}")
            progress.update(task, total=job["frames"] or 1, completed=job["frames_done"])
    return job


def _show(jobs: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    of_what = Column("de", no_wrap=True, min_width=EUI_DIGITS)
    table = Table("n°", "état", of_what, "trames", "lues", "illisibles", "retirées", "écrites")
    for job in jobs:
        of = job["dev_eui"] or (f"profil {job['device_profile_id']}" if job["device_profile_id"] else "tout")
        state = STATES[job["state"]] + (f" : {job['reason']}" if job["reason"] else "")
        counts = ("frames_decoded", "frames_failed", "values_removed", "values_written")
        frames = f"{job['frames_done']}/{'?' if job['frames'] is None else job['frames']}"
        table.add_row(str(job["id"]), state, of, frames, *(str(job[name]) for name in counts))
    Console().print(table)


def show_failed(items: list[dict[str, Any]]) -> None:
    """A row for each device and reason."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    # A DevEUI is copied into the next command: whatever the width of the terminal, it is whole.
    table = Table(Column("capteur", no_wrap=True, min_width=EUI_DIGITS))
    for heading in ("nom", "décodeur", "trames", "dernière", "raison"):
        table.add_column(heading, overflow="fold")
    for item in items:
        codec = "" if item["codec"] is None else f"{item['codec']} v{item['codec_version'] or '?'}"
        cells = (item["dev_eui"], item["device_name"], codec, str(item["frames"]), item["last_at"][:19])
        table.add_row(*map(escape, cells), escape(item["reason"] or ""))
    console = Console()
    console.print(table if items else "Aucune trame illisible.")
