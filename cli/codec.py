"""`territoire codec`: catalogues of devices, as files that the operator has."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.api_client import (
    REFUSED,
    DryRunOption,
    HomeOption,
    KeyOption,
    ReportOption,
    SharedOption,
    UrlOption,
    open_api,
)
from cli.running import fail, print_json

if TYPE_CHECKING:
    from cli.codec_check import Checked, Report
    from cli.codec_import import ImportedLine, ImportReport
    from decoders.catalogues.layouts import Layout
    from decoders.catalogues.model import ImportedCodec
    from decoders.javascript.pool import PoolUnavailable

PROFILE_WORDS = {"created": "profil", "grouped": "profil (même produit)"}

codec_app = typer.Typer(help="Décodeurs : vérifier et reprendre les catalogues publics.", no_args_is_help=True)

CatalogueArgument = Annotated[
    Path,
    typer.Argument(
        help="Un catalogue, ou un de ses dossiers : lorawan-devices (The Things Network), device-catalog "
        "(Actility), chirpstack-device-profiles, SensorDecoders (Milesight)."
    ),
]


@codec_app.callback()
def _codec() -> None:
    """Décodeurs : vérifier et reprendre les catalogues publics."""


@codec_app.command("check")
def check_catalogue(path: CatalogueArgument, as_json: ReportOption = False) -> None:
    """Exécute chaque exemple d'un catalogue dans notre moteur. 0 : aucun écart, 1 : des écarts, 2 : illisible."""
    import asyncio

    from cli.codec_check import Report, check
    from decoders.javascript.pool import CodecPool, PoolUnavailable

    layout, codecs = read_catalogue(path)

    async def run() -> "list[Checked]":
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress

        pool = CodecPool()
        with Progress(
            *Progress.get_default_columns(),
            MofNCompleteColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
            transient=True,
        ) as progress:
            task = progress.add_task("Exemples", total=len(codecs))
            try:
                await pool.start()
                return await check(codecs, pool, lambda count: progress.advance(task, count))
            finally:
                await pool.close()

    try:
        report = Report.of(asyncio.run(run()))
    except PoolUnavailable as unavailable:
        raise _no_engine(unavailable) from None
    if as_json:
        print_json(report)
    else:
        _show(report, layout.title, codecs)
    raise typer.Exit(1 if report.failed else 0)


@codec_app.command("import")
def import_catalogue(
    path: CatalogueArgument,
    dry_run: DryRunOption = False,
    shared: SharedOption = False,
    api_key: KeyOption = None,
    url: UrlOption = None,
    home: HomeOption = None,
    as_json: ReportOption = False,
) -> None:
    """Reprend les codecs et les profils d'un catalogue. 0 : tout ; 1 : une partie est restée ; 2 : rien à lire."""
    from rich.console import Console
    from rich.progress import Progress

    from cli.codec_import import ImportReport, import_codecs

    layout, codecs = read_catalogue(path, profiles=True)
    lines: list[ImportedLine] = []
    with (
        open_api(api_key, url, home) as api,
        Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress,
    ):
        task = progress.add_task("Codecs", total=len(codecs))
        for line in import_codecs(codecs, layout.title, api, shared=shared, dry_run=dry_run):
            lines.append(line)
            progress.advance(task)
    report = ImportReport.of(lines, dry_run=dry_run)
    if as_json:
        print_json(report)
    else:
        _show_import(report, layout.title)
    raise typer.Exit(0 if report.is_whole else 1)


def read_catalogue(path: Path, *, profiles: bool = False) -> "tuple[Layout, list[ImportedCodec]]":
    """The layout of the catalogue at a path, and the codecs of the part that was asked for.

    Ends the command when there is nothing to read.
    """
    from rich.console import Console

    from cli.catalogue_files import NoCatalogue, open_catalogue
    from cli.catalogue_literals import literal_worker
    from core.runtime.telemetry import configure_logs
    from decoders.catalogues.layouts import layout_of
    from decoders.javascript.pool import PoolUnavailable

    configure_logs("codec", "codec", "console", "ERROR", sys.stderr)
    with literal_worker() as evaluate:
        try:
            catalogue, within = open_catalogue(path, evaluate)
        except NoCatalogue as nothing:
            raise fail(str(nothing), REFUSED) from None
        layout = layout_of(catalogue)
        if layout is None:
            raise fail(f"{path} ne ressemble à aucun des catalogues connus (voir --help)", REFUSED)
        try:
            with Console(stderr=True).status("Lecture du catalogue"):
                codecs = list(layout.read(catalogue, within, profiles=profiles))
        except PoolUnavailable as unavailable:
            raise _no_engine(unavailable) from None
    if lacking := catalogue.lacking():
        raise fail(f"{layout.title} n'a pas la forme attendue : {' ; '.join(lacking)}", REFUSED)
    if not codecs:
        raise fail(f"aucun codec dans {within or 'ce catalogue'} ({layout.title})", REFUSED)
    return layout, codecs


def _no_engine(unavailable: "PoolUnavailable") -> typer.Exit:
    return fail(f"le moteur ne démarre pas : {unavailable}")


def _show(report: "Report", title: str, codecs: "list[ImportedCodec]") -> None:
    """Failures with their differences, then what was passed over, then the account."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True)
    for outcome, style, word in (("failed", "red", "échoué"), ("skipped", "yellow", "écarté")):
        for one in (one for one in report.examples if one.outcome == outcome):
            line = f"{one.codec} · {one.operation} · {one.name} : {one.reason}"
            console.print(f"[{style}]{word}[/]  {escape(line)}")
            for difference in one.differences:
                console.print(f"        {escape(difference)}")
    bare = sum(not codec.examples for codec in codecs)
    console.print(f"{title} : {len(codecs)} codecs, dont {bare} sans exemple")
    console.print(f"{report.passed} réussis, {report.failed} échoués, {report.skipped} écartés")


def _show_import(report: "ImportReport", title: str) -> None:
    """A line for each codec and profile that something became of, then the account."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True)
    words = {"created": "nouveau", "new_version": "version", "unchanged": "déjà là", "refused": "refusé"}
    for line in report.codecs:
        text = " ".join(filter(None, (line.name, f"v{line.version}" if line.version else "", line.detail)))
        console.print(f"{words.get(line.outcome, 'sans script'):11} {escape(text)}")
        for profile in line.profiles:
            word = PROFILE_WORDS.get(profile["outcome"], "profil (déjà là)")
            console.print(f"            {word} {escape(profile['name'])} : {escape(profile['detail'])}")
        for count, what in (
            (line.examples_left_out, "exemples illisibles ou de trop, laissés de côté"),
            (line.profiles_left_out, "profils de trop, laissés de côté"),
        ):
            if count:
                console.print(f"            {count} {what}")
    console.print(
        f"{title} : {report.created} nouveaux codecs, {report.new_version} nouvelles versions, "
        f"{report.unchanged} déjà là, {report.refused} refusés, {report.no_script} sans script ; "
        f"{report.profiles_created} nouveaux profils, {report.profiles_grouped} produits d'un autre catalogue"
    )
    if not report.is_whole:
        console.print("Une partie est restée de côté : voir les lignes ci-dessus.")
    if report.dry_run:
        console.print("Essai : rien n'est écrit. Relancez sans --dry-run.")
