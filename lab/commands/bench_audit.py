"""`territoire bench audit`: on a stack of its own, in a process of its own."""

from dataclasses import asdict
from typing import Annotated

import typer

from cli.running import read_run
from lab.commands.bench import on_a_stack_of_its_own
from lab.commands.bench_scaling import bench_app
from lab.commands.options import CheckOption, JsonOption, RunningStackOption

LinesOption = Annotated[int, typer.Option(min=1000, help="Lignes du journal.")]


@bench_app.command()
def audit(lines: LinesOption = 1_000_000, check: CheckOption = False, as_json: JsonOption = False) -> None:
    """Sceller et vérifier un million de lignes du journal d'audit."""
    argv = ["--lines", str(lines)]
    argv += [name for name, given in (("--check", check), ("--json", as_json)) if given]
    raise typer.Exit(on_a_stack_of_its_own("audit-load", argv, {}, ("alerting",)))


@bench_app.command("audit-load", hidden=True)
def audit_load(
    home: RunningStackOption,
    lines: LinesOption = 1_000_000,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """La mesure, dans son propre processus ; `bench audit` la lance."""
    import json

    import uvloop

    from lab.bench.audit import measure

    figures = uvloop.run(measure(read_run(home), lines))
    if as_json:
        print(json.dumps(asdict(figures)))
    else:
        print(
            f"{figures.lines} lignes : sceaux en {figures.seal_s:.1f} s, vérifiées en {figures.verify_s:.1f} s, "
            f"une ligne modifiée : {'trouvée' if figures.is_change_found else 'IGNORÉE'}"
        )
    raise typer.Exit(1 if check and not figures.is_reached else 0)
