"""`territoire bench network`: each part on a stack of its own, in a process of its own."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.running import fail, log_apart, print_json, read_run
from core.runtime.errors import describe
from lab.commands.bench import arguments, bench_app, on_a_stack_of_its_own
from lab.commands.options import (
    CopiesOption,
    GatewaysOption,
    JsonOption,
    RunningStackOption,
    RunsOption,
    SecondsOption,
)

# What a part's stack runs beside PostgreSQL, nats-server and mosquitto; nothing named: everything.
SERVICES_OF: dict[str, tuple[str, ...]] = {"throughput": ("network", "api"), "answers": (), "storm": ()}
RateOption = Annotated[float, typer.Option(min=10, help="Trames par seconde de la partie answers.")]
OnlyOption = Annotated[
    list[str] | None, typer.Option(help="throughput, answers ou storm ; répétable. Sinon les trois.")
]


@bench_app.command()
def network(
    seconds: SecondsOption = 60.0,
    rate: RateOption = 2_000.0,
    gateways: GatewaysOption = 507,
    copies: CopiesOption = 1.0,
    runs: RunsOption = 5,
    only: OnlyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Le serveur de réseau : trames par cœur, fenêtres des réponses, activations après une coupure."""
    import msgspec

    for part in only or ():
        if part not in SERVICES_OF:
            raise fail(f"partie inconnue : {part} ; connues : {', '.join(SERVICES_OF)}")
    argv = arguments(seconds=seconds, rate=rate, gateways=gateways, copies=copies, runs=runs, json=as_json)
    found: dict[str, Any] = {}
    worst = 0
    with tempfile.TemporaryDirectory(prefix="territoire-bench-") as folder:
        for part in only or SERVICES_OF:
            file = Path(folder) / f"{part}.json"
            status = on_a_stack_of_its_own(
                "network-part",
                ["--part", part, "--figures", str(file), *argv],
                {"track_commit_timestamp": "on"},
                SERVICES_OF[part],
            )
            worst = max(worst, status)
            if file.exists():
                found[part] = msgspec.json.decode(file.read_bytes())
    if as_json:
        print_json(found)
    raise typer.Exit(worst)


@bench_app.command("network-part", hidden=True)
def network_part(
    home: RunningStackOption,
    part: Annotated[str, typer.Option()],
    figures: Annotated[Path, typer.Option(help="Où les chiffres sont écrits.")],
    seconds: SecondsOption = 60.0,
    rate: RateOption = 2_000.0,
    gateways: GatewaysOption = 507,
    copies: CopiesOption = 1.0,
    runs: RunsOption = 5,
    as_json: JsonOption = False,
) -> None:
    """Une partie, dans son propre processus ; `bench network` les lance."""
    import msgspec
    from rich.console import Console

    from lab.bench.network import PARTS, Options
    from lab.bench.network_ceiling import CeilingMissed
    from lab.bench.network_load import UplinksLost
    from lab.fleet.provision import ProvisioningFailed
    from lab.load.load import JoinsTakeTooLong

    run = read_run(home)
    log_apart(run, "bench")
    try:
        found = PARTS[part](run, Options(seconds, runs, rate, gateways, copies), Console(stderr=as_json))
    except (ProvisioningFailed, JoinsTakeTooLong, UplinksLost, CeilingMissed, TimeoutError) as failed:
        raise fail(describe(failed)) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    figures.write_bytes(msgspec.json.encode(found))
    raise typer.Exit(0 if found["is_exact"] else 1)
