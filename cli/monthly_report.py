"""`territoire report COMMUNE MONTH`: a monthly report, asked of the API, shown or written to files."""

import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.api_client import REFUSED, HomeOption, JsonOption, KeyOption, UrlOption, api_session
from cli.running import fail, print_json
from core.runtime.errors import located_reason

if TYPE_CHECKING:
    from collections.abc import Generator

    from cli.api_client import ApiClient

MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
Service = Literal["all", "waste", "buildings", "lighting", "network", "cost"]


def report(
    commune: Annotated[str, typer.Argument(help="Commune : nom ou code INSEE.")],
    month: Annotated[str, typer.Argument(help="Un mois fini : 2026-10.")],
    service: Annotated[Service, typer.Option("--service", help="Un seul service ; all : tous.")] = "all",
    pdf: Annotated[Path | None, typer.Option("--pdf", help="Écrire le PDF dans ce fichier.")] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Écrire les chiffres dans ce fichier, pour un tableur.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="En garder une version, si un chiffre a changé.")] = False,
    as_json: JsonOption = False,
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
) -> None:
    """Montre le rapport d'une commune et d'un mois, comme il serait fait maintenant.

    0 : fait ; 1 : fichier impossible à écrire ; 2 : demande refusée.
    """
    if MONTH.fullmatch(month) is None:
        raise fail(f"« {month} » : un mois comme 2026-10 attendu", REFUSED)
    wanted = {"commune": commune, "month": month, "service": service}
    try:
        with api_session(api_key, url, home) as api:
            with _progress("Lecture des chiffres"):
                content = api.post("/v1/reports", wanted) if keep else api.get("/v1/reports/preview", **wanted)
            base = f"/v1/reports/{content['id']}" if keep else "/v1/reports/preview"
            query = {} if keep else wanted
            for file, ending in ((pdf, "pdf"), (csv, "csv")):
                if file is not None:
                    _write(api, f"{base}/report.{ending}", file, query)
    except OSError as wrong:
        raise fail(located_reason(wrong)) from None
    if as_json:
        print_json(content)
        return
    _show(content)
    for file in (pdf, csv):
        if file is not None:
            print(f"Écrit : {file}")


@contextmanager
def _progress(what: str) -> "Generator[None]":
    """On a terminal a line that moves; nothing in a pipe."""
    from rich.console import Console

    console = Console(stderr=True)
    if not sys.stderr.isatty():
        yield
        return
    with console.status(what):
        yield


def _write(api: "ApiClient", path: str, file: Path, query: dict[str, str]) -> None:
    with _progress(f"Écriture de {file.name}"):
        api.download(path, file, **query)


def _show(content: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(content["title"], style="bold")
    for line in content["highlights"]:
        console.print(f"· {line}")
    if not content["sections"]:
        console.print("Rien n'est suivi dans cette commune.")
    for section in content["sections"]:
        table = Table(title=section["name"], title_justify="left", title_style="bold")
        table.add_column("")
        for head in ("Ce mois", "Mois précédent", "Un an avant", "Sur un an"):
            table.add_column(head, justify="right")
        for one in section["figures"]:
            others = (one["last_month"], one["last_year"])
            texts = [other["text"] if other else "–" for other in (one["this"], *others)]
            table.add_row(one["name"], *texts, one["change_year"])
        console.print(table)
    if content["unknown"]:
        console.print("Ce que l'on ne sait pas ce mois-ci :", style="bold")
    for line in content["unknown"]:
        console.print(f"· {line}")
