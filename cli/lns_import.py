"""`territoire import lns` and `territoire export keys`: from a file to the API, with a report."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.api_client import (
    FAILED,
    REFUSED,
    DryRunOption,
    HomeOption,
    KeyOption,
    ReportOption,
    SharedOption,
    TenantOption,
    UrlOption,
    api_session,
)
from cli.imports import add_imports
from cli.running import fail, print_json
from core.runtime.errors import file_reason, system_reason

CHUNK = 200
OWN_FILE_ONLY = 0o600
OUTCOMES = {
    "created": "nouveaux",
    "updated": "mis à jour",
    "unchanged": "déjà à jour",
    "refused": "refusés",
    "unreadable": "illisibles",
}

import_app = typer.Typer(help="Importer un fichier, ou reprendre des données d'ailleurs.", no_args_is_help=True)
add_imports(import_app)
export_app = typer.Typer(help="Sortir ses données.", no_args_is_help=True)


@import_app.callback()
def _import() -> None:
    """Importer un fichier, ou reprendre des données d'ailleurs."""


@export_app.callback()
def _export() -> None:
    """Sortir ses données."""


@import_app.command("lns")
def import_lns(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FICHIER", help="CSV ou JSON : le nôtre, celui de The Things Stack, de ChirpStack."
        ),
    ],
    profile: Annotated[int | None, typer.Option(help="Profil des capteurs qui n'en nomment pas.")] = None,
    dry_run: DryRunOption = False,
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
    as_json: ReportOption = False,
) -> None:
    """Reprend des capteurs d'un autre LNS, avec leur clé racine et leur session. 0 : tous ; 1 : pas tous."""
    from cli.lns_files import UnreadableFile, read_devices

    try:
        rows = read_devices(file.read_bytes(), is_csv=file.suffix.lower() == ".csv", profile_id=profile)
    except (OSError, UnreadableFile) as wrong:
        raise fail(f"{file} : {file_reason(wrong)}", REFUSED) from None
    report = [
        {"dev_eui": row.name, "line": row.line, "outcome": "unreadable", "detail": " ; ".join(row.wrong)}
        for row in rows
        if row.wrong
    ]
    good = [row for row in rows if not row.wrong]
    with api_session(api_key, url, home, FAILED) as api:
        for start in range(0, len(good), CHUNK):
            chunk = good[start : start + CHUNK]
            body = {"dry_run": dry_run, "devices": [row.device for row in chunk]}
            answer = api.post("/v1/device-imports", body)
            report += [one | {"line": row.line} for row, one in zip(chunk, answer["devices"], strict=True)]
    report.sort(key=lambda one: one["line"])
    _show(report, dry_run=dry_run, as_json=as_json)
    raise typer.Exit(1 if any(one["outcome"] in ("refused", "unreadable") for one in report) else 0)


@import_app.command("communes")
def import_communes(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FICHIER", help="GeoJSON : une FeatureCollection de communes (IGN, INSEE, Etalab)."
        ),
    ],
    tenant: TenantOption = None,
    shared: SharedOption = False,
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
) -> None:
    """Prend les contours des communes, pour les cartes sans fond. Deux fois le même fichier ne change rien."""
    from cli.communes import UnreadableFile, read_communes, take_in

    try:
        features = read_communes(file)
    except UnreadableFile as wrong:
        raise fail(f"{file} : {wrong}", REFUSED) from None
    with api_session(api_key, url, home, FAILED) as api:
        print(take_in(api, features, tenant, shared=shared))


@export_app.command("keys")
def export_keys(
    file: Annotated[
        Path,
        typer.Argument(metavar="FICHIER", help="Où écrire le fichier age ; lisible par son propriétaire seul."),
    ],
    recipient: Annotated[int, typer.Option(help="Pour qui : un numéro de GET /v1/key-recipients.")],
    reason: Annotated[str, typer.Option(help="Pourquoi ; consigné dans l'audit de la collectivité.")],
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
) -> None:
    """Sort les clés des capteurs de la collectivité, chiffrées (age) pour un destinataire enregistré.

    Déchiffrées (`age -d -i cle.txt`), elles ont la forme que `import lns` reprend.
    """
    with api_session(api_key, url, home, FAILED) as api:
        answer = api.post("/v1/key-exports", {"api_key": api.key, "recipient_id": recipient, "reason": reason})
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWN_FILE_ONLY)
    except OSError as wrong:
        raise fail(f"{file} : {system_reason(wrong)}", REFUSED) from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as output:
        output.write(answer["file"])
    print(f"{answer['devices']} capteurs, chiffrés pour {answer['recipient']} : {file}")


def _show(report: Sequence[dict[str, Any]], *, dry_run: bool, as_json: bool) -> None:
    counts = Counter(one["outcome"] for one in report)
    if as_json:
        whole = {"dry_run": dry_run, **{name: counts[name] for name in OUTCOMES}, "devices": list(report)}
        print_json(whole)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("ligne", "capteur", "résultat", "détail")
    for one in report:
        table.add_row(str(one["line"]), one["dev_eui"], OUTCOMES[one["outcome"]], one["detail"])
    console = Console()
    console.print(table)
    console.print(
        ", ".join(f"{counts[name]} {label}" for name, label in OUTCOMES.items() if counts[name]) or "rien"
    )
    if dry_run:
        console.print("Essai : rien n'est écrit. Relancez sans --dry-run.")
