"""`territoire export measurements`: a file of measurements, asked of the API, waited for and downloaded."""

import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.api_client import FAILED, REFUSED, ApiError, HomeOption, KeyOption, ReportOption, UrlOption, api_session
from cli.exit_codes import INTERRUPTED
from cli.running import fail, print_json
from core.runtime.errors import located_reason

if TYPE_CHECKING:
    from cli.api_client import ApiClient

ASKED_EVERY_S = 0.5
ENDED = ("done", "failed", "cancelled")
Form = Literal["csv", "ndjson", "parquet"]


def export_measurements(
    since: Annotated[str, typer.Option("--from", help="Début, compris : 2026-01-01 (minuit ici) ou un instant.")],
    until: Annotated[str | None, typer.Option("--to", help="Fin, non comprise ; absente : maintenant.")] = None,
    form: Annotated[
        Literal["csv", "ndjson", "parquet"], typer.Option("--format", help="Forme du fichier.")
    ] = "csv",
    spreadsheet: Annotated[
        bool, typer.Option("--spreadsheet", help="CSV pour tableur français : point-virgule, virgule décimale.")
    ] = False,
    bucket: Annotated[
        Literal["hour", "day", "week", "month", "year"] | None,
        typer.Option("--bucket", help="Un intervalle par ligne, avec sa complétude ; absent : les mesures."),
    ] = None,
    asset: Annotated[list[int] | None, typer.Option("--asset", help="Les flux de cet actif ; répétable.")] = None,
    datastream: Annotated[list[int] | None, typer.Option("--datastream", help="Ce flux ; répétable.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Type d'actif.")] = None,
    quantity: Annotated[str | None, typer.Option("--quantity", help="Grandeur.")] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="Étiquette de l'actif.")] = None,
    commune: Annotated[str | None, typer.Option("--commune", help="Commune : nom ou code INSEE.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Fichier à écrire ; absent : mesures.<format>.")
    ] = None,
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
    as_json: ReportOption = False,
) -> None:
    """Sort les mesures d'une période dans un fichier. 0 : écrit ; 1 : échec ; 2 : demande refusée ; 130 : arrêté.

    Sans filtre, toutes celles que la clé voit. Un téléchargement interrompu reprend où il s'est arrêté.
    """
    target = output or Path(f"mesures.{form}")
    filters = {"asset_ids": asset, "datastream_ids": datastream, "kind": kind, "quantity": quantity, "tag": tag}
    filters |= {"commune": commune, "bucket": bucket}
    body = {name: value for name, value in filters.items() if value}
    body |= {"format": form, "spreadsheet": spreadsheet, "from": _instant(since)}
    if until is not None:
        body["to"] = _instant(until)
    try:
        with api_session(api_key, url, home, FAILED) as api:
            job = _ask(api, body)
            try:
                job = _wait_and_download(api, job, target)
            except KeyboardInterrupt:
                api.post(f"/v1/exports/{job['id']}/cancel", {})
                print("Arrêté : rien n'est gardé.", file=sys.stderr)
                raise typer.Exit(INTERRUPTED) from None
    except OSError as wrong:
        raise fail(located_reason(wrong), REFUSED) from None
    _show(job, target, as_json=as_json)
    raise typer.Exit(0 if job["state"] == "done" else 1)


def _instant(text: str) -> str:
    """With an offset: that of this machine where there is none."""
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except ValueError:
        raise fail(f"« {text} » : 2026-01-01 ou 2026-01-01T00:00:00Z attendu", REFUSED) from None


def _ask(api: "ApiClient", body: dict[str, Any]) -> dict[str, Any]:
    try:
        return api.post("/v1/exports", body)
    except ApiError as refused:
        raise fail(str(refused), REFUSED) from None


def _wait_and_download(api: "ApiClient", job: dict[str, Any], target: Path) -> dict[str, Any]:
    from rich.console import Console
    from rich.progress import Progress

    path = f"/v1/exports/{job['id']}"
    console = Console(stderr=True)
    with Progress(console=console, disable=not sys.stderr.isatty(), transient=True) as progress:
        writing = progress.add_task("Écriture", total=1.0)
        while job["state"] not in ENDED:
            time.sleep(ASKED_EVERY_S)
            job = api.get(path)
            progress.update(writing, completed=job["progress"])
        if job["state"] == "done":
            receiving = progress.add_task("Téléchargement", total=job["octets"])
            api.download_in_ranges(
                f"{path}/file", target, job["octets"], lambda octets: progress.update(receiving, completed=octets)
            )
    return job


def _show(job: dict[str, Any], target: Path, *, as_json: bool) -> None:
    if as_json:
        print_json(job | {"file": str(target)})
    elif job["state"] == "done":
        print(f"{job['readings']} mesures de {job['streams']} flux, {job['octets']} octets : {target}")
    else:
        print(f"Échec : {job['reason'] or job['state']}", file=sys.stderr)
