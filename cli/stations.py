"""`territoire stations`: what LoRa Basics Stations fetch by CUPS, of one or of all of them."""

import base64
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.api_client import REFUSED, HomeOption, JsonOption, KeyOption, UrlOption, api_session
from cli.running import fail, print_json, tables

stations_app = typer.Typer(
    help="Basics Stations : leur demander une adresse, un jeton, un programme, sans s'y rendre.",
    no_args_is_help=True,
)
AWAITED = {"cups_uri": "adresse de CUPS", "tc_uri": "adresse", "token": "jeton", "update": "programme"}


@stations_app.command("order")
def ask_of_stations(
    gateway: Annotated[str | None, typer.Argument(help="EUI d'une station ; absent : il faut --all.")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Toutes les stations de la collectivité.")] = False,
    new_token: Annotated[bool, typer.Option("--new-token", help="Un autre jeton.")] = False,
    trust: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Autorité du certificat du serveur, en PEM."),
    ] = None,
    tc_uri: Annotated[str | None, typer.Option(help="Adresse du réseau : wss://machine:port.")] = None,
    cups_uri: Annotated[str | None, typer.Option(help="Adresse de CUPS : https://machine:port.")] = None,
    update: Annotated[int | None, typer.Option(help="Programme à exécuter, par son numéro.")] = None,
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
) -> None:
    """Demande quelque chose à une station ou à toutes ; chacune vient le chercher, sous 24 heures."""
    if everyone == (gateway is not None):
        raise fail("l'EUI d'une station, ou --all", REFUSED)
    body = {
        "new_token": new_token,
        "trust": None if trust is None else trust.read_text("utf-8"),
        "tc_uri": tc_uri,
        "cups_uri": cups_uri,
        "update_id": update,
    }
    with api_session(api_key, url, home) as api:
        if gateway is None:
            count: int = api.post("/v1/station-orders", body)["stations"]
        else:
            api.patch(f"/v1/gateways/{gateway}/station-order", body)
            count = 1
    sys.stdout.write(f"Demandé à {count} station{'s' if count > 1 else ''}.\n")


@stations_app.command("list")
def list_stations(
    api_key: KeyOption = None, url: UrlOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Liste les stations qui viennent à CUPS, et ce qu'elles doivent encore y prendre."""
    with api_session(api_key, url, home) as api:
        found: list[Any] = [one for one in api.list_all("/v1/gateways") if one["cups"] is not None]
    if as_json:
        print_json(found, indent=2)
        return
    from rich.table import Table

    table = Table("EUI", "nom", "dernier contact", "station", "paquet", "attendu")
    for one in found:
        cups = one["cups"]
        table.add_row(
            one["gateway_id"],
            one["name"],
            cups["reported_at"] or "jamais",
            cups["station"] or "",
            cups["package"] or "",
            ", ".join(AWAITED[name] for name in cups["awaited"]) or "rien",
        )
    tables(beside_json=False).print(table)


@stations_app.command("add-update")
def add_update(
    name: Annotated[str, typer.Argument(help="Son nom.")],
    content: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="update.bin.")],
    signature: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="Sa signature : openssl dgst -sha512 -sign.")
    ],
    public_key: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="La clé publique, en PEM.")],
    package: Annotated[str | None, typer.Option(help="version.txt d'une station qui l'a.")] = None,
    station: Annotated[str | None, typer.Option(help="Ou le début de sa version.")] = None,
    model: Annotated[str | None, typer.Option(help="Pour ce modèle seulement.")] = None,
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
) -> None:
    """Ajoute un programme signé ; ensuite : stations order --update."""
    body = {
        "name": name,
        "package": package,
        "station": station,
        "model": model,
        "content": base64.b64encode(content.read_bytes()).decode(),
        "signature": base64.b64encode(signature.read_bytes()).decode(),
        "public_key": public_key.read_text("utf-8"),
    }
    with api_session(api_key, url, home) as api:
        sys.stdout.write(f"Programme n° {api.post('/v1/station-updates', body)['id']}\n")
