"""`territoire person`: what concerns a dwelling or a person, exported and erased."""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.api_client import HomeOption, JsonOption, KeyOption, TenantOption, UrlOption, api_session, of_tenant
from cli.running import database_away, fail, print_json, tables
from core.runtime.errors import file_reason

if TYPE_CHECKING:
    from cli.api_client import ApiClient
    from core.runtime.postgres import Connection
    from registry.erasures import ErasedAgain

person_app = typer.Typer(
    help="Droits des personnes : chercher, exporter, effacer un logement ou une personne.", no_args_is_help=True
)
SubjectArgument = Annotated[str, typer.Argument(help="Sorte et numéro, comme asset-42 ou person-7 (person list).")]
NOT_ERASED = 1
WRONG = 2
ASK_EVERY_S = 0.5


@person_app.command("list")
def list_subjects(
    search: Annotated[str, typer.Argument(help="Nom, rue, DevEUI ou courrier ; absent : tous.")] = "",
    tenant: TenantOption = None,
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cherche logements, capteurs, personnes et contacts. La recherche est consignée dans l'audit."""
    with api_session(api_key, url, home) as api:
        asked = of_tenant(tenant) | ({"q": search} if search else {})
        found = list(api.list_all("/v1/data-subjects", **asked))
    if as_json:
        print_json(found, indent=2)
        return
    if not found:
        where = (
            f"la collectivité {tenant}" if tenant else "la collectivité de cette clé ; --tenant en nomme une autre"
        )
        sys.stdout.write(f"Rien de ce nom dans {where}.\n")
        return
    from rich.table import Table

    table = Table("n°", "nom", "de quoi il s'agit")
    for one in found:
        table.add_row(one["id"], one["label"], one["detail"])
    tables(beside_json=False).print(table)


@person_app.command("export")
def export(
    subject: SubjectArgument,
    file: Annotated[
        Path, typer.Argument(metavar="FICHIER", help="Le fichier zip à écrire : chaque table en JSON et en CSV.")
    ],
    tenant: TenantOption = None,
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
) -> None:
    """Exporte tout ce qui concerne un logement ou une personne, sans clés ni secrets."""
    if file.exists():
        raise fail(f"{file} existe déjà : choisissez un autre nom", WRONG)
    with api_session(api_key, url, home) as api:
        octets = api.download(f"/v1/data-subjects/{subject}/export", file, **of_tenant(tenant))
    sys.stdout.write(f"{file} : {octets / 1e6:.1f} Mo. À remettre à la personne, puis à effacer d'ici.\n")


@person_app.command("erase")
def erase(
    subject: SubjectArgument,
    reason: Annotated[str, typer.Option(help="Pourquoi ; gardé dans le reçu : n'y nommez personne.")],
    receipt: Annotated[Path | None, typer.Option(help="Écrire aussi le reçu dans ce fichier.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ne pas demander : l'aperçu a été lu.")] = False,
    tenant: TenantOption = None,
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Efface tout ce qui concerne un logement ou une personne, après un aperçu ; rien ne l'annule.

    Interrompue, la commande n'arrête rien : l'effacement se poursuit, et « person receipts » montre son reçu.
    Statuts : 0 effacé, 1 refusé en cours de route, 2 refusé.
    """
    with api_session(api_key, url, home) as api:
        shown = api.get(f"/v1/data-subjects/{subject}", **of_tenant(tenant))
        if not as_json:
            _show(shown)
        if not yes and not typer.confirm(f"Effacer « {shown['label']} » pour toujours ?", err=True):
            raise fail("rien n'est effacé", NOT_ERASED)
        path = f"/v1/data-subjects/{subject}/erasure"
        asked = api.post(path, {"reason": reason, "confirm": shown["label"]}, **of_tenant(tenant))
        done = _wait_for_end(api, asked["id"], tenant)
    text = json.dumps(done, ensure_ascii=False, indent=2) + "\n"
    if receipt is not None:
        receipt.write_text(text, "utf-8")
    if as_json:
        sys.stdout.write(text)
    elif done["state"] == "done":
        sys.stdout.write(
            f"Effacé : {done['erased']} lignes de {len(done['counts'])} tables. Reçu {done['id']}, "
            f"empreinte {done['sha256']}.\n"
        )
    if done["state"] != "done":
        raise fail(f"refusé : {done['refusal']}", NOT_ERASED)


def _show(shown: dict[str, Any]) -> None:
    kinds = (("asset_ids", "actifs"), ("device_ids", "capteurs"), ("contact_ids", "contacts"))
    counted = ", ".join(f"{len(shown[name])} {word}" for name, word in kinds if shown[name])
    sys.stdout.write(f"{shown['label']} ({shown['id']}) : {counted or 'un compte'}\n")
    for name, count in sorted(shown["rows"].items()):
        sys.stdout.write(f"  {name:24} {count}\n")
    if shown["shared_device_ids"]:
        sys.stdout.write("  des capteurs qui ont servi aussi ailleurs restent, sans ce qu'ils ont dit ici\n")


def _wait_for_end(api: "ApiClient", erasure: int, tenant: str | None) -> dict[str, Any]:
    from rich.console import Console

    with Console(stderr=True).status("effacement…") as status:
        while True:
            found: dict[str, Any] = api.get(f"/v1/erasures/{erasure}", **of_tenant(tenant))
            if found["state"] in ("done", "refused"):
                return found
            waits = " ; ce qui était en route est attendu" if found["state"] == "settling" else ""
            status.update(f"effacement : {found['erased']} lignes{waits}")
            time.sleep(ASK_EVERY_S)


@person_app.command("receipts")
def receipts(
    tenant: TenantOption = None,
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Les effacements et leurs reçus, le dernier d'abord."""
    with api_session(api_key, url, home) as api:
        found = list(api.list_all("/v1/erasures", **of_tenant(tenant)))
    if as_json:
        print_json(found, indent=2)
        return
    if not found:
        sys.stdout.write("Aucun effacement.\n")
    for one in found:
        sys.stdout.write(
            f"{one['id']}  {one['requested_at']}  {one['subject']}  {one['state']}  {one['erased']} lignes  "
            f"{one['sha256'] or ''}\n"
        )


@person_app.command("again")
def again(
    ledger: Annotated[
        Path, typer.Argument(metavar="REGISTRE", help="Le registre des effacements, gardé avec les sauvegardes.")
    ],
    home: HomeOption = None,
) -> None:
    """Efface à nouveau ce que le registre nomme, après une restauration par d'autres moyens (Kubernetes).

    Par le propriétaire du schéma (TERRITOIRE_DATABASE_URL) et la clé de chiffrement, avant les services.
    """
    from cli.keys import connected, installation
    from cli.restored import say_erased, say_trouble_at_end
    from registry.erasures import ClosedLines, UnreadableLedger, erase_again, read_ledger

    place, keys = installation(home)
    try:
        entries = list(read_ledger(ledger))
        say_trouble_at_end(ledger)
    except (OSError, UnreadableLedger) as wrong:
        raise fail(f"{ledger} ne se lit pas : {file_reason(wrong)}", WRONG) from None

    async def work(connection: "Connection") -> "ErasedAgain":
        return await erase_again(connection, keys, entries)

    try:
        done = asyncio.run(connected(place, work))
    except ClosedLines as closed:
        raise fail(f"{closed.french}. Ne démarrez pas les services avant") from None
    say_erased(entries, done)


@person_app.command("ledger")
def write_ledger(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FICHIER]", help="Le registre à compléter, à côté des sauvegardes.", show_default=False
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(help="Dans un pod : l'ObjectStore des sauvegardes, où le registre est à compléter."),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Ajoute au registre des effacements ce que la base sait avoir effacé ; chaque « backup » le fait aussi."""
    if (file is None) == (store is None):
        raise fail("donnez un fichier, ou --store", WRONG)
    if file is None:
        _complete_beside_backups(store or "")
        return
    from cli.keys import connected, installation
    from registry.erasures import UnreadableLedger, write_missing

    place, _ = installation(home)
    file.touch(0o600)  # Nothing erased so far is no ledger that is missing.
    try:
        added = asyncio.run(connected(place, lambda connection: write_missing(connection, file)))
    except UnreadableLedger as wrong:
        raise fail(f"{file} ne se lit pas : {wrong}", WRONG) from None
    sys.stdout.write(f"{file} : {added} lignes ajoutées.\n")


def _complete_beside_backups(name: str) -> None:
    import httpx

    from cli.kubernetes import connect_to_kubernetes
    from cli.ledger_store import LedgerStore
    from cli.place import demand_addresses
    from core.runtime.postgres import DATABASE_AWAY, connect
    from registry.erasures import UnreadableLedger

    async def complete() -> tuple[str, int]:
        async with connect_to_kubernetes("barmancloud.cnpg.io/v1", "objectstores") as kubernetes:
            described = (await kubernetes.get(f"/{name}")).raise_for_status().json()
        beside = LedgerStore.of(described)
        try:
            connection = await connect(os.environ["TERRITOIRE_DATABASE_URL"], "territoire-ledger")
        except DATABASE_AWAY as away:
            raise database_away(away) from None
        try:
            return f"s3://{beside.bucket}/{beside.key}", await beside.complete(connection)
        finally:
            await connection.close()

    demand_addresses("TERRITOIRE_DATABASE_URL")
    try:
        place, added = asyncio.run(complete())
    except (OSError, KeyError, ValueError, UnreadableLedger, httpx.HTTPError) as wrong:
        raise fail(f"le registre n'est pas complété : {type(wrong).__name__} {wrong}", NOT_ERASED) from None
    sys.stdout.write(f"{place} : {added} lignes ajoutées.\n")
