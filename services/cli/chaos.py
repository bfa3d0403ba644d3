"""`territoire chaos`: hurts a stack of its own in every way it knows, and counts."""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from services.simulator.chaos.cases import Case
    from services.simulator.chaos.outcome import Outcome

INTERRUPTED = 130
# Not /tmp: the databases of a run take gigabytes, and /tmp may be memory.
FOLDER = Path("/var/tmp")  # noqa: S108 - A folder of our own is made in it.


def chaos(
    case: Annotated[str | None, typer.Argument(help="Un seul cas (--list les nomme) ; sinon tous.")] = None,
    rate: Annotated[float, typer.Option(min=1, help="Trames montantes par seconde.")] = 2000.0,
    seconds: Annotated[
        float | None, typer.Option(min=6, help="Durée de la charge de chaque cas ; sinon celle du cas.")
    ] = None,
    as_list: Annotated[bool, typer.Option("--list", help="Nomme les cas, et s'arrête.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Pour un programme.")] = False,
) -> None:
    """Tue, fige, remplit et dérègle une pile sous charge : rien ne doit manquer, rien ne doit être en double."""
    from rich.console import Console

    from services.simulator.chaos.cases import CASES, find_case
    from services.simulator.chaos.report import chaos_table, print_findings

    if as_list:
        _print_list(as_json)
        return
    chosen = CASES if case is None else tuple(filter(None, [find_case(case)]))
    if not chosen:
        sys.stderr.write(f"territoire : cas inconnu : {case} (./territoire chaos --list)\n")
        raise typer.Exit(2)
    console = Console(stderr=as_json)
    try:
        outcomes = asyncio.run(_run(chosen, rate, seconds, console))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        _print_json({"rate": rate, "cases": [outcome.as_dict() for outcome in outcomes]})
    else:
        console.print(chaos_table(outcomes))
    print_findings(console, outcomes)
    raise typer.Exit(1 if any(outcome.status == "failed" for outcome in outcomes) else 0)


def _print_json(document: object) -> None:
    import msgspec

    print(msgspec.json.encode(document).decode())


def _print_list(as_json: bool) -> None:
    from services.simulator.chaos.cases import CASES

    if as_json:
        _print_json([{"name": one.name, "title": one.title, "seconds": one.seconds} for one in CASES])
        return
    for one in CASES:
        print(f"{one.name:20} {one.seconds:4.0f} s  {one.title}")


async def _run(cases: Sequence["Case"], rate: float, seconds: float | None, console: "Console") -> list["Outcome"]:
    """The cases on ordinary disks on one stack, then those on small disks on another."""
    outcomes: list[Outcome] = []
    for small in (False, True):
        group = [case for case in cases if case.on_small_disks is small]
        if group:
            outcomes += await _run_group(group, rate, seconds, console, small=small)
    return outcomes


def _new_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="territoire-chaos-", dir=FOLDER))
    folder.chmod(0o711)  # PostgreSQL's account walks through.
    return folder


async def _run_group(
    cases: Sequence["Case"], rate: float, seconds: float | None, console: "Console", *, small: bool
) -> list["Outcome"]:
    from services.cli.background import background_stack
    from services.simulator.chaos.outcome import Outcome
    from services.simulator.chaos.processes import NotRun
    from services.simulator.chaos.stage import open_stage

    folder = _new_folder()
    outcomes: list[Outcome] = []
    try:
        async with open_stage(
            folder / "home", background_stack, rate=rate, on_small_disks=small, console=console
        ) as stage:
            for number, case in enumerate(cases, 1):
                console.print(f"[{number}/{len(cases)}] {case.title}...", markup=False, highlight=False)
                outcome = await stage.play(case, seconds or case.seconds)
                outcomes.append(outcome)
                word = {"ok": "tient", "failed": "NE TIENT PAS"}.get(outcome.status, outcome.not_run)
                console.print(f"    {word} ({outcome.took_s:.0f} s)", markup=False, highlight=False)
            outcomes.append(await stage.settle())
    except NotRun as refused:
        outcomes += [Outcome(case.name, case.title, not_run=str(refused)) for case in cases[len(outcomes) :]]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcomes
