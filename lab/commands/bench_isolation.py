"""`territoire bench isolation` and `bench contract`: on a stack of its own, in a process of its own."""

from collections.abc import Mapping
from typing import Annotated

import typer

from cli.running import print_json, read_run
from lab.commands.bench import arguments, on_a_stack_of_its_own
from lab.commands.bench_audit import bench_app
from lab.commands.options import CheckOption, JsonOption, RunningStackOption

RequestsOption = Annotated[int, typer.Option(min=1, help="Requêtes au hasard.")]
SeedOption = Annotated[int, typer.Option(help="Le même tirage donne les mêmes requêtes.")]


@bench_app.command()
def isolation(
    requests: RequestsOption = 10_000,
    seed: SeedOption = 1,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """Attaquer une collectivité depuis une autre, sous chaque rôle, par toutes les routes : rien n'en sort."""
    argv = arguments(requests=requests, seed=seed, check=check, json=as_json)
    raise typer.Exit(on_a_stack_of_its_own("isolation-load", argv, {}, ("api",)))


@bench_app.command("isolation-load", hidden=True)
def isolation_load(
    home: RunningStackOption,
    requests: RequestsOption = 10_000,
    seed: SeedOption = 1,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """La mesure, dans son propre processus ; `bench isolation` la lance."""
    from dataclasses import asdict

    import httpx
    import uvloop

    from lab.bench.isolation import measure

    run = read_run(home)
    # A connection each: an idle one may be closed while the next request is on its way.
    once = httpx.Limits(max_keepalive_connections=0)

    def new_client(headers: Mapping[str, str]) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=run.api_url, headers=headers, timeout=60, limits=once)

    found, changed = uvloop.run(measure(new_client, run.database_url, requests, seed))
    if as_json:
        operations = {f"{method} {path}": times for (method, path), times in found.operations.items()}
        shown = asdict(found) | {"changed": changed, "operations": operations}
        print_json(shown)
    else:
        for line in (*found.leaks, *found.faults):
            print(line)
        statuses = ", ".join(f"{status} : {times}" for status, times in sorted(found.statuses.items()))
        print(
            f"{found.requests} requêtes de {len(found.by_caller)} appelants, dont {found.naming} nomment ce "
            f"qui est à une autre collectivité : {len(found.leaks)} fuites, {len(found.faults)} réponses hors du "
            f"document, tables changées chez elle : {', '.join(changed) or 'aucune'} ({statuses})"
        )
        least = min(found.operations.values())
        formats = ", ".join(f"{name or 'sans corps'} : {times}" for name, times in sorted(found.formats.items()))
        print(
            f"{len(found.operations)} opérations, demandées chacune {least} fois ou plus ; "
            f"réponses avec ce que l'appelant a le droit de voir : {found.seen}, dont {found.seen_shared} avec ce "
            f"qui lui est partagé ; webhooks partis : {found.messages} ; formats : {formats}"
        )
    raise typer.Exit(1 if check and (changed or not found.is_reached) else 0)


EachOption = Annotated[int, typer.Option(min=1, help="Requêtes par opération et par manière, juste ou fausse.")]


@bench_app.command()
def contract(each: EachOption = 3, seed: SeedOption = 1, check: CheckOption = False) -> None:
    """Tirer des requêtes du document OpenAPI (schemathesis), sous chaque rôle : rien hors du document."""
    argv = arguments(each=each, seed=seed, check=check)
    raise typer.Exit(on_a_stack_of_its_own("contract-load", argv, {}, ("api", "ingest")))


@bench_app.command("contract-load", hidden=True)
def contract_load(
    home: RunningStackOption, each: EachOption = 3, seed: SeedOption = 1, check: CheckOption = False
) -> None:
    """La mesure, dans son propre processus ; `bench contract` la lance."""
    import httpx
    import uvloop

    from lab.bench.contract import measure

    run = read_run(home)
    # A connection each: an idle one may be closed while the next request is on its way.
    once = httpx.Limits(max_keepalive_connections=0)

    def new_client(headers: Mapping[str, str]) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=run.api_url, headers=headers, timeout=60, limits=once)

    found = uvloop.run(measure(new_client, run.database_url, each, seed))
    for kind, said in found.breaches.items():
        print(f"{kind}\n    {said}")
    statuses = ", ".join(f"{status} : {times}" for status, times in sorted(found.statuses.items()))
    print(
        f"{found.requests} requêtes sur {found.operations} opérations par {len(found.by_caller)} appelants, "
        f"{found.unsendable} impossibles à envoyer : {len(found.breaches)} manquements au document ({statuses})"
    )
    raise typer.Exit(1 if check and found.breaches else 0)
