"""`territoire people`: the people of an installation, from its first one on."""

import sys
from typing import Annotated

import typer

from cli.api_client import HomeOption, JsonOption, KeyOption, TenantOption, UrlOption, api_session, of_tenant
from cli.running import print_json, tables

people_app = typer.Typer(help="Personnes : inviter, lister, retirer, fermer un compte.", no_args_is_help=True)
PersonArgument = Annotated[int, typer.Argument(help="Numéro de la personne, dans la liste.")]


def _link(link: str | None, url: str | None) -> None:
    if link is None:
        sys.stdout.write("Le lien est parti par courrier.\n")
        return
    shown = link if link.startswith("http") else f"{(url or '').rstrip('/')}{link}"
    sys.stdout.write(f"Lien, à donner à cette seule personne : {shown}\n")


@people_app.command("invite")
def invite(
    email: Annotated[str, typer.Argument(help="Son adresse de courrier.")],
    name: Annotated[str, typer.Argument(help="Son nom.")],
    role: Annotated[str, typer.Option(help="Son rôle (docs/personnes.md).")] = "service_manager",
    tenant: TenantOption = None,
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
) -> None:
    """Invite une personne, et montre le lien s'il n'est pas parti par courrier."""
    with api_session(api_key, url, home) as api:
        made = api.post("/v1/invitations", {"email": email, "name": name, "role": role, "tenant": tenant})
    _link(made["link"], url)


@people_app.command("list")
def list_people(
    tenant: TenantOption = None,
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Liste les personnes d'une collectivité."""
    with api_session(api_key, url, home) as api:
        found = api.get("/v1/people", **of_tenant(tenant))["items"]
    if as_json:
        print_json(found, indent=2)
        return
    from rich.table import Table

    table = Table("n°", "adresse", "nom", "rôle", "code", "dernière connexion", "compte")
    for one in found:
        table.add_row(
            str(one["id"]),
            one["email"],
            one["name"],
            one["role"],
            "oui" if one["has_totp"] else "non",
            one["last_login_at"] or "jamais",
            "ouvert" if one["enabled"] else "fermé",
        )
    tables(beside_json=False).print(table)


@people_app.command("disable")
def disable(
    person: PersonArgument, api_key: KeyOption = None, url: UrlOption = None, home: HomeOption = None
) -> None:
    """Ferme un compte partout ; ses sessions se ferment tout de suite."""
    with api_session(api_key, url, home) as api:
        api.put(f"/v1/people/{person}/enabled", {"enabled": False})


@people_app.command("enable")
def enable(
    person: PersonArgument, api_key: KeyOption = None, url: UrlOption = None, home: HomeOption = None
) -> None:
    """Rouvre un compte."""
    with api_session(api_key, url, home) as api:
        api.put(f"/v1/people/{person}/enabled", {"enabled": True})


@people_app.command("reset")
def reset(
    person: PersonArgument, api_key: KeyOption = None, url: UrlOption = None, home: HomeOption = None
) -> None:
    """Un lien avec lequel la personne choisit un nouveau mot de passe, dans l'heure."""
    with api_session(api_key, url, home) as api:
        made = api.post(f"/v1/people/{person}/password-reset", {})
    _link(made["link"], url)
