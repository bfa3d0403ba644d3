"""`territoire bench audit` and `bench logins`: on a stack of its own, in a process of its own."""

import os
from dataclasses import asdict
from typing import Annotated

import typer

from cli.running import print_json, read_run
from lab.commands.bench import arguments, on_a_stack_of_its_own
from lab.commands.bench_scaling import bench_app
from lab.commands.options import CheckOption, JsonOption, RunningStackOption, SecondsOption

RoundsOption = Annotated[int, typer.Option(min=1, max=20, help="Manches, au calme et non, en alternance.")]
LinesOption = Annotated[int, typer.Option(min=1000, help="Lignes du journal.")]


@bench_app.command()
def audit(lines: LinesOption = 1_000_000, check: CheckOption = False, as_json: JsonOption = False) -> None:
    """Sceller et vérifier un million de lignes du journal d'audit."""
    argv = arguments(lines=lines, check=check, json=as_json)
    raise typer.Exit(on_a_stack_of_its_own("audit-load", argv, {}, ("alerting",)))


@bench_app.command("audit-load", hidden=True)
def audit_load(
    home: RunningStackOption,
    lines: LinesOption = 1_000_000,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """La mesure, dans son propre processus ; `bench audit` la lance."""
    import uvloop

    from lab.bench.audit import measure

    figures = uvloop.run(measure(read_run(home), lines))
    if as_json:
        print_json(asdict(figures))
    else:
        print(
            f"{figures.lines} lignes : sceaux en {figures.seal_s:.1f} s, vérifiées en {figures.verify_s:.1f} s, "
            f"une ligne modifiée : {'trouvée' if figures.is_change_found else 'IGNORÉE'}"
        )
    raise typer.Exit(1 if check and not figures.is_reached else 0)


@bench_app.command()
def logins(
    rounds: RoundsOption = 3,
    seconds: SecondsOption = 10.0,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """Une connexion seule, puis ce que cent mots de passe faux par seconde coûtent aux autres."""
    from lab.bench.logins import PROXIES

    argv = arguments(rounds=rounds, seconds=seconds, check=check, json=as_json)
    os.environ["TERRITOIRE_API_TRUSTED_PROXIES"] = PROXIES
    raise typer.Exit(on_a_stack_of_its_own("logins-load", argv, {}, ("api",)))


@bench_app.command("logins-load", hidden=True)
def logins_load(
    home: RunningStackOption,
    rounds: RoundsOption = 3,
    seconds: SecondsOption = 10.0,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """La mesure, dans son propre processus ; `bench logins` la lance."""
    import uvloop

    from lab.bench.logins import measure

    figures = uvloop.run(measure(read_run(home), rounds, seconds))
    if as_json:
        print_json(asdict(figures) | {"ratio": figures.ratio})
    else:
        answers = ", ".join(f"{count} × {status}" for status, count in sorted(figures.wrong_answers.items()))
        print(
            f"connexion : {figures.login_ms:.0f} ms (p95) ; requêtes des autres, p95 par manche : "
            f"{_shown(figures.quiet_p95_ms)} ms au calme, {_shown(figures.attacked_p95_ms)} ms pendant "
            f"cent mots de passe faux par seconde (× {figures.ratio:.2f} ; {answers})"
        )
    raise typer.Exit(1 if check and not figures.is_reached else 0)


def _shown(values: list[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values)
