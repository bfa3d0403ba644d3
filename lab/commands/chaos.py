"""`territoire chaos`: hurts a stack of its own in every way it knows, and counts."""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.exit_codes import INTERRUPTED
from cli.running import fail, print_json, tables

if TYPE_CHECKING:
    from rich.console import Console

    from lab.chaos.case import Case
    from lab.chaos.outcome import Outcome
    from lab.chaos.stage import Stage

HOUR_S = 3_600.0
# All that is measured on a stack is counted anew after each case.
MOST_CASES_A_STACK = 13
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
    hours: Annotated[
        float | None, typer.Option(min=0.01, help="Avec soak : durée en heures, 24 par exemple.")
    ] = None,
    times: Annotated[float, typer.Option(min=0.1, help="Avec soak : combien de fois le pilote.")] = 10.0,
    messages: Annotated[int, typer.Option(min=20, help="Avec fuzz : messages de chaque sorte.")] = 20_000,
    seed: Annotated[
        str, typer.Option(help="Avec fuzz : rejoue les messages de cette graine ; sinon une nouvelle.")
    ] = "",
    report: Annotated[Path, typer.Option(help="Avec soak : dossier du rapport et de ses courbes.")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Pour un programme.")] = False,
    keep: Annotated[bool, typer.Option(help="Garde le dossier de la pile, avec ses journaux.")] = False,
) -> None:
    """Tue, fige, remplit et dérègle une pile sous charge : rien ne doit manquer, rien ne doit être en double.

    Le code de sortie est 1 si un cas ne tient pas, ou n'a pas pu être joué ici.
    """
    from lab.chaos.cases import CASES, SELECTION, find_case
    from lab.chaos.fuzz.around import fuzzing
    from lab.chaos.outcome import Outcome
    from lab.chaos.report import chaos_table, print_findings
    from lab.chaos.soak.load import soak_load

    if as_list:
        _print_list(as_json)
        return
    unknown = [name for name in cases or () if find_case(name) is None]
    if unknown:
        raise fail(f"cas inconnu : {', '.join(unknown)} (./territoire chaos --list)", 2)
    known = [one.as_selected for one in SELECTION] if selection else CASES
    chosen = [case for case in known if (case.name in cases if cases else not case.is_alone)]
    chosen = [replace(case, around=fuzzing(messages, seed)) if case.name == "fuzz" else case for case in chosen]
    for number, case in enumerate(chosen):
        if case.name == "soak":
            lasts_s = case.seconds if hours is None else hours * HOUR_S
            chosen[number] = replace(case, **soak_load(times), seconds=lasts_s)
    console = tables(beside_json=as_json)
    outcomes: list[Outcome] = []
    interrupted = False
    try:
        asyncio.run(_run(chosen, Play(rate, seconds, keep, report.resolve()), console, outcomes))
    except (KeyboardInterrupt, asyncio.CancelledError):
        interrupted = True
    if as_json:
        print_json({"rate": rate, "cases": [outcome.as_dict() for outcome in outcomes]})
    else:
        console.print(chaos_table(outcomes))
    print_findings(console, [outcome for outcome in outcomes if outcome.status != "ok"])
    shown = outcomes and all(outcome.status == "ok" for outcome in outcomes)
    raise typer.Exit(INTERRUPTED if interrupted else 0 if shown else 1)


def _print_list(as_json: bool) -> None:
    from lab.chaos.cases import CASES

    if as_json:
        print_json([{"name": one.name, "title": one.title, "seconds": one.seconds} for one in CASES])
        return
    for one in CASES:
        print(f"{one.name:20} {one.seconds:4.0f} s  {one.title}")


@dataclass(frozen=True, slots=True)
class Play:
    """What the operator asks of every case."""

    rate: float
    seconds: float | None
    keep: bool
    folder: Path
    """Where a report goes."""


async def _run(cases: Sequence["Case"], play: Play, console: "Console", outcomes: list["Outcome"]) -> None:
    """The cases of one layout on one stack, those on small disks and each that is alone on one of their own."""
    task, stacks = asyncio.current_task(), 0
    if task is not None:  # As Ctrl-C: nothing that we started or mounted stays.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with _own_folder(keep=play.keep) as folder:
        if play.keep:
            console.print(f"Dossier : {folder}", markup=False, highlight=False)
        for together in groups_of(cases):
            left = together
            while left:
                stacks += 1
                home = folder / f"home-{stacks}"
                played = await _run_group(left, home, play, console, outcomes)
                if not play.keep:
                    shutil.rmtree(home, ignore_errors=True)
                left = left[played:]


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


def groups_of(cases: Sequence["Case"]) -> list[list["Case"]]:
    """Which cases are played on the same stack, in their order: a few, since each counts all that is there."""
    groups: dict[tuple[object, ...], list[Case]] = {}
    for case in cases:
        alone = case.name if case.is_alone else None
        groups.setdefault((case.on_small_disks, case.layout, alone), []).append(case)
    return [
        group[begin : begin + MOST_CASES_A_STACK]
        for group in groups.values()
        for begin in range(0, len(group), MOST_CASES_A_STACK)
    ]


@asynccontextmanager
async def _open_stage(case: "Case", home: Path, play: Play, console: "Console") -> AsyncGenerator["Stage"]:
    """A stack on which this case may be played."""
    from lab.chaos.case import Layout
    from lab.chaos.stack.releases import prepared_upgrade
    from lab.chaos.stage import open_stage
    from lab.stack_process import background_stack

    async with AsyncExitStack() as opened:
        upgrade, start = None, background_stack
        if case.layout is Layout.FORMER:
            console.print("Installation de la version précédente")
            upgrade = await opened.enter_async_context(prepared_upgrade())
            start = upgrade.start
        stage = open_stage(
            home,
            start,
            rate=case.rate or play.rate,
            devices=case.devices,
            on_small_disks=case.on_small_disks,
            layout=case.layout,
            upgrade=upgrade,
            console=console,
        )
        yield await opened.enter_async_context(stage)


async def _run_group(
    cases: Sequence["Case"], home: Path, play: Play, console: "Console", outcomes: list["Outcome"]
) -> int:
    """Play these cases on one stack; returns how many: what comes after a stack that is broken needs another."""
    from lab.chaos.outcome import CaseFailed, NotRun, Outcome
    from lab.chaos.report import print_findings
    from lab.chaos.soak.load import KEPT_FOR_S
    from lab.chaos.soak.play import soak
    from services.supervisor.supervisor import StartFailed

    played = 0
    try:
        async with _open_stage(cases[0], home, play, console) as stage:
            for case in cases:
                console.print(f"[{played + 1}/{len(cases)}] {case.title}...", markup=False, highlight=False)
                seconds = play.seconds or case.seconds
                if case.name == "soak":
                    await stage.bus.keep_measurements_for(KEPT_FOR_S)
                    outcomes += await soak(stage, seconds, play.folder)
                else:
                    outcomes.append(await stage.play(case, seconds))
                played += 1
                outcome = outcomes[-1]
                _print_outcome(outcome, console)
                print_findings(console, [outcome])
                if outcome.unready or not outcome.drained:
                    return played
            outcomes.append(await stage.settle())
            _print_outcome(outcomes[-1], console)
            print_findings(console, outcomes[-1:])
    except NotRun as refused:
        outcomes += [Outcome(case.name, case.title, not_run=str(refused)) for case in cases[played:]]
    except (CaseFailed, StartFailed) as failed:
        outcomes += [Outcome(case.name, case.title, differences=[str(failed)]) for case in cases[played:]]
    return len(cases)


def _print_outcome(outcome: "Outcome", console: "Console") -> None:
    word = {"ok": "tient", "failed": "NE TIENT PAS"}.get(outcome.status, outcome.not_run)
    account = outcome.account
    figures = f"{outcome.ours} à nous, {account.stored} enregistrées, {account.missing} manquantes"
    console.print(f"    {word} ({figures}, {outcome.took_s:.0f} s)", markup=False, highlight=False)
