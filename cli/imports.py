"""`territoire import KIND FILE`: a file to the API in parts, read there in the background, with a report."""

import base64
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.api_client import (
    FAILED,
    REFUSED,
    DryRunOption,
    HomeOption,
    KeyOption,
    ReportOption,
    UrlOption,
    api_session,
)
from cli.exit_codes import INTERRUPTED
from cli.running import fail, print_json
from core.runtime.errors import located_reason

if TYPE_CHECKING:
    from cli.api_client import ApiClient

PART = 700_000
ASKED_EVERY_S = 0.5
SHOWN_MOST = 10
ENDED = ("done", "failed", "cancelled")
KINDS = {
    "cabinets": "Importe des armoires d'éclairage",
    "circuits": "Importe des circuits d'armoire",
    "light-points": "Importe des points lumineux",
    "devices": "Importe des capteurs, avec leurs clés",
    "assets": "Importe des actifs de tout type",
    "gateways": "Importe des passerelles",
    "contacts": "Importe les contacts des équipes",
    "rules": "Importe des règles d'alerte",
    "commune-outlines": "Importe des contours de communes, ligne par ligne",
    "weather-days": "Importe les températures journalières d'une station météo",
    "weighings": "Importe les pesées du pont-bascule",
}
OUTCOMES = {"created": "nouvelles", "updated": "mises à jour", "unchanged": "déjà à jour", "refused": "refusées"}

FileArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[FICHIER]", help="CSV (UTF-8 ou Windows, virgule ou point-virgule) ou GeoJSON."),
]
ExportOption = Annotated[
    Path | None, typer.Option("--export", help="Écrire dans ce fichier ce qui est là, avec les mêmes colonnes.")
]
ModelOption = Annotated[
    Path | None, typer.Option("--model", help="Écrire dans ce fichier les titres et une ligne d'exemple.")
]
RejectedOption = Annotated[
    Path | None,
    typer.Option("--rejected", help="Où écrire les lignes refusées ; absent : à côté, « .refus.csv »."),
]
LambertOption = Annotated[
    bool, typer.Option("--lambert93", help="Le GeoJSON est en Lambert-93 et ne le dit pas lui-même.")
]


def add_imports(app: typer.Typer) -> None:
    """A command for each kind of file."""
    for kind, does in KINDS.items():
        app.command(kind, help=f"{does} ; le même fichier deux fois ne change rien. 0 : tout ; 1 : pas tout.")(
            _command(kind)
        )


def _command(kind: str) -> Callable[..., None]:
    def command(
        file: FileArgument = None,
        export: ExportOption = None,
        model: ModelOption = None,
        rejected: RejectedOption = None,
        lambert93: LambertOption = False,
        dry_run: DryRunOption = False,
        api_key: KeyOption = None,
        url: UrlOption = None,
        home: HomeOption = None,
        as_json: ReportOption = False,
    ) -> None:
        if sum(one is not None for one in (file, export, model)) != 1:
            raise fail("donnez un fichier à importer, ou --export, ou --model", REFUSED)
        try:
            with api_session(api_key, url, home, FAILED) as api:
                for what, target in (("export", export), ("model", model)):
                    if target is not None:
                        octets = api.download(f"/v1/import-kinds/{kind}/{what}.csv", target)
                        print(f"{octets} octets : {target}")
                if file is None:
                    return
                body = {"kind": kind, "dry_run": dry_run, "file_name": file.name[:200]} | _form(file, lambert93)
                job = _import(api, file, body)
                report = _download_rejected(api, job, rejected or file.with_suffix(".refus.csv"))
        except OSError as wrong:
            raise fail(located_reason(wrong), REFUSED) from None
        _show(job, report, as_json=as_json)
        raise typer.Exit(0 if job["state"] == "done" and not job["refused"] else 1)

    return command


def _form(file: Path, lambert93: bool) -> dict[str, str]:
    form: Literal["geojson", "csv"] = "geojson" if file.suffix.lower() in (".geojson", ".json") else "csv"
    return {"format": form, "coordinates": "lambert93" if lambert93 else "wgs84"}


def _import(api: "ApiClient", file: Path, body: dict[str, Any]) -> dict[str, Any]:
    """Send the file and wait for its end; interrupted, it is cancelled."""
    from rich.console import Console
    from rich.progress import Progress

    size = file.stat().st_size
    with (
        file.open("rb") as content,
        Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress,
    ):
        job = api.post("/v1/imports", body)
        path = f"/v1/imports/{job['id']}"
        try:
            sending = progress.add_task("Envoi", total=size)
            number = 0
            while part := content.read(PART):
                number += 1
                api.put(f"{path}/parts/{number}", {"content": base64.b64encode(part).decode()})
                progress.advance(sending, len(part))
            if not number:
                api.put(f"{path}/parts/1", {"content": ""})
            job = api.post(f"{path}/start", {})
            reading = progress.add_task("Lecture", total=1.0)
            while job["state"] not in ENDED:
                time.sleep(ASKED_EVERY_S)
                job = api.get(path)
                progress.update(reading, completed=job["progress"] or 0.0)
        except KeyboardInterrupt:
            job = api.post(f"{path}/cancel", {})
            print("Arrêté : ce qui est écrit le reste, le même fichier ira au bout.", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
    return job


def _download_rejected(api: "ApiClient", job: dict[str, Any], target: Path) -> Path | None:
    if not job["refused"]:
        return None
    api.download(f"/v1/imports/{job['id']}/rejected.csv", target)
    return target


def _show(job: dict[str, Any], report: Path | None, *, as_json: bool) -> None:
    if as_json:
        print_json(job | {"rejected_file": report and str(report)})
        return
    counts = ", ".join(f"{job[name]} {label}" for name, label in OUTCOMES.items())
    print(f"{job['lines'] or 0} lignes : {counts}")
    if job["reason"]:
        print(f"Échec : {job['reason']}")
    if report is not None:
        _show_rejected(report)
    if job["dry_run"]:
        print("Essai : rien n'est écrit. Relancez sans --dry-run.")


def _show_rejected(report: Path) -> None:
    import csv

    with report.open(encoding="utf-8-sig", newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines, delimiter=";")):
            if number == SHOWN_MOST:
                print("…")
                break
            print(f"ligne {row['line']}, {row['column'] or 'ligne entière'} : {row['reason']}")
    print(f"Lignes refusées, à corriger et à reprendre telles quelles : {report}")
