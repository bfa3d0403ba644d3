"""`territoire codec confirm|proposals`: mappings that a person has to look at, and what the person decides."""

from typing import Annotated, Any

import typer

from cli.api_client import REFUSED, ApiClient, HomeOption, JsonOption, KeyOption, UrlOption, api_session
from cli.codec_lab import ForAllOption, ProfileArgument
from cli.running import fail, print_json


def add_confirm(codec_app: typer.Typer) -> None:
    """These commands, beside the others of codecs."""
    codec_app.command("confirm")(confirm)
    codec_app.command("proposals")(proposals)


def confirm(
    profile: ProfileArgument,
    path: Annotated[
        list[str] | None, typer.Argument(help="Les champs à mettre en service ; aucun : montrer ce qui attend.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Tout ce qui est à confirmer, tel quel.")] = False,
    quantity: Annotated[str | None, typer.Option(help="La grandeur, si ce n'est pas celle proposée.")] = None,
    unit: Annotated[str | None, typer.Option(help="L'unité du fabricant : cm, mV, kWh…")] = None,
    channel: Annotated[str | None, typer.Option(help="La voie.")] = None,
    remove: Annotated[
        list[str] | None, typer.Option(help="Un champ à retirer de la correspondance ; peut être répété.")
    ] = None,
    adopt: Annotated[
        list[str] | None,
        typer.Option(help="Un champ pour lequel prendre la proposition d'aujourd'hui ; peut être répété."),
    ] = None,
    for_all: ForAllOption = False,
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Confirme les règles d'une correspondance : ce qu'elles lisent devient une mesure. Sans champ, les montre."""
    changed = {"quantity": quantity, "unit": unit, "channel": channel}
    said = {name: value for name, value in changed.items() if value is not None}
    if said and not path:
        raise fail("--quantity, --unit et --channel vont avec un champ", REFUSED)
    where = f"/v1/device-profiles/{profile}/mapping"

    def work(api: ApiClient) -> dict[str, Any] | None:
        paths = list(path or [])
        if everything:
            paths = list(dict.fromkeys(paths + [one["path"] for one in api.get(where)["to_confirm"]]))
        if not paths and not remove and not adopt:
            return None
        rules = [{"path": one, **said} for one in paths]
        return api.post(
            where, {"confirm": rules, "remove": remove or [], "adopt": adopt or [], "for_all": for_all}
        )

    with api_session(api_key, url, home) as api:
        decided = work(api)
        revision = api.get(where)
    if as_json:
        print_json({"decoding": decided, "revision": revision})
        return
    _show([revision])
    if decided is not None:
        print(f"Ce qui est arrivé avant se relit : ./territoire codec redecode --profile {profile}")


def proposals(
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Liste les profils dont la correspondance est à revoir : à confirmer, ou proposée autrement aujourd'hui."""
    with api_session(api_key, url, home) as api:
        items = list[dict[str, Any]](api.list_all("/v1/mapping-revisions"))
    if as_json:
        print_json(items)
    elif items:
        _show(items)
    else:
        print("Aucune correspondance n'est à revoir.")


def _show(items: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True)
    for one in items:
        console.print(f"[bold]Profil {one['device_profile_id']}[/] {escape(one['name'])}")
        for rule in one["to_confirm"]:
            console.print(f"  à confirmer  {escape(_said(rule))} : {escape(rule['why'])}")
        for other in one["differences"]:
            now = "rien" if other["now"] is None else _said(other["now"])
            proposed = "rien" if other["proposed"] is None else _said(other["proposed"])
            why = f" (à confirmer : {other['why']})" if other["why"] else ""
            console.print(f"  aujourd'hui  {escape(other['path'])} : {escape(f'{now} → {proposed}{why}')}")
        if not one["to_confirm"] and not one["differences"]:
            console.print("  rien à revoir")


def _said(rule: dict[str, Any]) -> str:
    channel = f" [{rule['channel']}]" if rule.get("channel") else ""
    unit = f" en {rule['unit']}" if rule.get("unit") else ""
    return f"{rule['path']} = {rule['quantity']}{channel}{unit}"
