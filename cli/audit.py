"""`territoire audit verify`: whether a line of the audit was removed or changed."""

import asyncio
import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cli.api_client import HomeOption, JsonOption
from cli.running import fail, find_run

if TYPE_CHECKING:
    from registry.audit_chain import Head, Verification

audit_app = typer.Typer(help="Journal d'audit.", no_args_is_help=True)
WRONG_HEAD = 2
FRENCH = {
    "seal_missing": "un sceau manque avant celui-ci",
    "line_missing": "la ligne a été retirée",
    "line_changed": "la ligne, ou un sceau avant elle, a été modifiée",
    "details_changed": "ses détails ont été modifiés",
    "line_unsealed": "la ligne n'est ni scellée ni en attente de l'être",
    "head_differs": "ce sceau manque, ou n'est pas celui qui a été noté",
}


@audit_app.callback()
def commands() -> None:
    """A group, also while it has one command."""


@audit_app.command("verify")
def verify(
    expect: Annotated[
        str | None, typer.Option(help="Un sceau noté ailleurs, NUMÉRO:EMPREINTE : rien d'avant n'a été coupé.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Vérifie la chaîne du journal : sort 0 quand elle tient, 1 quand une ligne manque ou a changé."""
    url = os.environ.get("TERRITOIRE_DATABASE_URL") or find_run(home).database_admin_url
    found = asyncio.run(_verify(url, _head(expect)))
    if as_json:
        sys.stdout.write(json.dumps(asdict(found), default=_plain, ensure_ascii=False, indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(_lines(found)) + "\n")
    if found.problem_count:
        raise typer.Exit(1)


def _head(text: str | None) -> "Head | None":
    from registry.audit_chain import Head

    if text is None:
        return None
    sequence, _, digest = text.partition(":")
    try:
        return Head(int(sequence), bytes.fromhex(digest))
    except ValueError:
        raise fail("--expect : attendu NUMÉRO:EMPREINTE, comme l'affiche une vérification", WRONG_HEAD) from None


async def _verify(url: str, expected: "Head | None") -> "Verification":
    from core.runtime.postgres import connect
    from registry.audit_chain import verify as verify_chain

    connection = await connect(url, "territoire-audit")
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await verify_chain(connection, expected)
    finally:
        await connection.close()


def _plain(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _lines(found: "Verification") -> list[str]:
    shown = [
        f"ligne {one.line_id or '?'} (sceau {one.sequence or '-'}) : {FRENCH[one.problem]}"
        for one in found.problems
    ]
    if found.problem_count > len(found.problems):
        shown.append(f"et {found.problem_count - len(found.problems)} autres")
    shown.append(
        f"{found.sealed} lignes scellées, {found.problem_count} anomalies, {found.erased} aux détails effacés"
    )
    if found.unnamed:
        shown.append(
            f"{found.unnamed} lignes dont l'objet a été effacé à la demande d'une personne : les reçus "
            "(./territoire person receipts) disent lesquels"
        )
    if found.start.sequence:
        shown.append(f"{found.start.sequence} lignes plus anciennes retirées à leur terme")
    since = "" if found.tail.since is None else f", la première de {found.tail.since:%Y-%m-%d %H:%M:%S} UTC"
    shown.append(f"{found.tail.lines} lignes pas encore scellées{since}")
    shown.append(f"dernier sceau, à noter ailleurs : {found.head.sequence}:{found.head.digest.hex()}")
    return shown
