"""`territoire chaos`: hurts a stack of its own in every way it knows, and counts."""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.running import fail, tables

if TYPE_CHECKING:
    from rich.console import Console

    from lab.chaos.case import Case, Layout
    from lab.chaos.outcome import Outcome

INTERRUPTED = 130
# Not /tmp: the databases of a run take gigabytes, and /tmp may be memory.
FOLDER = Path("/var/tmp")


def chaos(
    cases: Annotated[
        list[str] | None, typer.Argument(metavar="[CAS]...", help="Ces cas (--list les nomme) ; sinon tous.")
    ] = None,
    rate: Annotated[float, typer.Option(min=1, help="Trames montantes par seconde.")] = 2000.0,
    seconds: Annotated[
        float | None, typer.Option(min=6, help="Durée de la charge de chaque cas ; sinon celle du cas.")
    ] = None,
    selection: Annotated[
        bool, typer.Option("--selection", help="Ce que joue l'intégration continue, aussi longtemps qu'elle.")
    ] = False,
    as_list: Annotated[bool, typer.Option("--list", help="Nomme les cas, et s'arrête.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Pour un programme.")] = False,
    keep: Annotated[bool, typer.Option(help="Garde le dossier de la pile, avec ses journaux.")] = False,
) -> None:
    """Tue, fige, remplit et dérègle une pile sous charge : rien ne doit manquer, rien ne doit être en double."""
    from lab.chaos.cases import CASES, SELECTION, find_case
    from lab.chaos.outcome import Outcome
    from lab.chaos.report import chaos_table, print_findings

    if as_list:
        _print_list(as_json)
        return
    unknown = [name for name in cases or () if find_case(name) is None]
    if unknown:
        raise fail(f"cas inconnu : {', '.join(unknown)} (./territoire chaos --list)", 2)
    known = [one.as_selected for one in SELECTION] if selection else CASES
    chosen = [case for case in known if not cases or case.name in cases]
    console = tables(beside_json=as_json)
    outcomes: list[Outcome] = []
    interrupted = False
    try:
        asyncio.run(_run(chosen, Play(rate, seconds, keep), console, outcomes))
    except (KeyboardInterrupt, asyncio.CancelledError):
        interrupted = True
    if as_json:
        _print_json({"rate": rate, "cases": [outcome.as_dict() for outcome in outcomes]})
    else:
        console.print(chaos_table(outcomes))
    print_findings(console, outcomes)
    failed = any(outcome.status == "failed" for outcome in outcomes)
    raise typer.Exit(INTERRUPTED if interrupted else 1 if failed else 0)


def _print_json(document: object) -> None:
    import msgspec

    print(msgspec.json.encode(document).decode())


def _print_list(as_json: bool) -> None:
    from lab.chaos.cases import CASES

    if as_json:
        _print_json([{"name": one.name, "title": one.title, "seconds": one.seconds} for one in CASES])
        return
    for one in CASES:
        print(f"{one.name:20} {one.seconds:4.0f} s  {one.title}")


@dataclass(frozen=True, slots=True)
class Play:
    """What the operator asks of every case."""

    rate: float
    seconds: float | None
    keep: bool


async def _run(cases: Sequence["Case"], play: Play, console: "Console", outcomes: list["Outcome"]) -> None:
    """The cases of one layout on one stack, those on small disks on one of their own."""
    from lab.chaos.case import Layout

    task, stacks = asyncio.current_task(), 0
    if task is not None:  # As Ctrl-C: nothing that we started or mounted stays.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with _own_folder(keep=play.keep) as folder:
        if play.keep:
            console.print(f"Dossier : {folder}", markup=False, highlight=False)
        for small, layout in product((False, True), Layout):
            group = [case for case in cases if (case.on_small_disks, case.layout) == (small, layout)]
            while group:
                stacks += 1
                home = folder / f"home-{stacks}"
                played = await _run_group(group, home, play, console, outcomes, (small, layout))
                if not play.keep:
                    shutil.rmtree(home, ignore_errors=True)
                group = group[played:]


@contextmanager
def _own_folder(*, keep: bool) -> Generator[Path]:
    from core.runtime.telemetry import configure_logs

    folder = Path(tempfile.mkdtemp(prefix="territoire-chaos-", dir=FOLDER))
    folder.chmod(0o711)  # PostgreSQL's account walks through.
    try:
        # The terminal is for the operator; what our own connections have to say goes to a file.
        with (folder / "chaos.log").open("a", encoding="utf-8") as log:
            configure_logs("chaos", "chaos", "json", "INFO", log)
            yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


async def _run_group(
    cases: Sequence["Case"],
    home: Path,
    play: Play,
    console: "Console",
    outcomes: list["Outcome"],
    place: tuple[bool, "Layout"],
) -> int:
    """Play these cases on one stack; returns how many: what comes after a stack that is broken needs another."""
    from lab.chaos.outcome import Outcome
    from lab.chaos.processes import NotRun
    from lab.chaos.stage import open_stage
    from lab.stack_process import background_stack

    try:
        async with open_stage(
            home, background_stack, rate=play.rate, on_small_disks=place[0], console=console, layout=place[1]
        ) as stage:
            for number, case in enumerate(cases, 1):
                console.print(f"[{number}/{len(cases)}] {case.title}...", markup=False, highlight=False)
                outcome = await stage.play(case, play.seconds or case.seconds)
                outcomes.append(outcome)
                word = {"ok": "tient", "failed": "NE TIENT PAS"}.get(outcome.status, outcome.not_run)
                account = outcome.account
                figures = f"{outcome.ours} à nous, {account.stored} enregistrées, {account.missing} manquantes"
                console.print(f"    {word} ({figures}, {outcome.took_s:.0f} s)", markup=False, highlight=False)
                if outcome.unready or not outcome.drained:
                    return number
            outcomes.append(await stage.settle())
    except NotRun as refused:
        outcomes += [Outcome(case.name, case.title, not_run=str(refused)) for case in cases]
    return len(cases)
