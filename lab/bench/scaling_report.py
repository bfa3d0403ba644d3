"""What `bench scaling` found: one JSON object for programs, three tables for people."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from lab.bench.scaling import Shown, Split
    from lab.bench.scaling_kills import Blow

WORK_OF = {
    "gateway_bridge": "copies de trames mises sur le bus",
    "network": "trames acceptées",
    "ingest": "mesures écrites",
    "alerting": "évaluations de règles",
    "lighting": "pas de commandes",
    "intake": "messages d'un autre LNS",
    "api": "réponses",
    "maintenance": "passages faits",
}
# Of what a split gateway's devices wait for; the rest is the air's (docs/performance.md, "The network service").
GOAL_ANSWERED = 0.97


def _blow(blow: "Blow") -> dict[str, Any]:
    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 2)

    return {
        "replica": blow.child,
        "stays_away": blow.stays_away,
        "served_again_s": rounded(blow.served_s),
        "ready_again_s": rounded(blow.back_s),
        "shared_again_s": rounded(blow.shared_s),
        "sent": blow.sent,
        "stored": blow.stored,
        "p50_s": rounded(blow.p50_s),
        "slowest_s": rounded(blow.slowest_s),
        "survived": blow.is_survived,
    }


def _split(split: "Split") -> dict[str, Any]:
    return {
        "joined": split.joined,
        "uplinks": split.uplinks,
        "answers_awaited": split.awaited,
        "rx1": split.rx1,
        "rx2": split.rx2,
        "account": split.account.as_dict(),
    }


def figures_of(shown: "Shown") -> dict[str, Any]:
    """The one object that `--json` prints."""
    figures: dict[str, Any] = {
        "frames_per_second": shown.options.rate,
        "devices": shown.options.devices,
        "gateways": shown.options.gateways,
        "shards": shown.shards,
        "quiet_s": shown.options.quiet_s,
        "work_by_replica": {service: dict(replicas) for service, replicas in shown.shares.by_service.items()},
        "idle": shown.shares.idle,
        "split_gateways": _split(shown.split),
        "kills": [_blow(blow) for blow in shown.blows],
        "account": shown.account.as_dict(),
        "lost_at_the_edge": shown.account.left_out,
        "town": shown.town,
        "callers": shown.callers,
        "peak_megabytes": {child: round(size) for child, size in shown.megabytes.items()},
        "gateways_turned": shown.turns,
    }
    return figures | {"wrong": wrong(figures)}


def wrong(figures: Mapping[str, Any]) -> list[str]:
    """What is not as it should be, in French; nothing when everything held."""
    found = [f"{child} n'a rien fait" for child in figures["idle"]]
    found += [
        f"{one['replica']} : le travail n'a pas été repris" for one in figures["kills"] if not one["survived"]
    ]
    found += [f"{name} : le compte n'est pas juste" for name, one in _accounts(figures) if not one["balances"]]
    split, town = figures["split_gateways"], figures["town"]
    answered = split["rx1"] + split["rx2"]
    if not split["answers_awaited"] or answered < GOAL_ANSWERED * split["answers_awaited"]:
        found.append(f"passerelles partagées : {answered} réponses sur {split['answers_awaited']}")
    unanswered = {name: one["failed"] for name, one in figures["callers"].items() if one["failed"]}
    found += [f"{name} : {count} demandes sans réponse" for name, count in unanswered.items()]
    told = ("stored", "heard", "alerts", "alarmed", "webhook_ids", "assets_told_of")
    found += [
        f"{name} : {town[name]} pour {town['taken']} messages" for name in told if town[name] != town["taken"]
    ]
    if town["forged"]:
        found.append(f"{town['forged']} webhooks mal signés")
    if not town["commands"]["sent"] or town["commands"]["forgotten"]:
        found.append(f"commandes d'éclairage : {town['commands']}")
    return found


def _accounts(figures: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [("charge", figures["account"]), ("passerelles partagées", figures["split_gateways"]["account"])]


def print_scaling(console: Console, figures: Mapping[str, Any]) -> None:
    """For people."""
    console.print(_shares_table(figures))
    console.print(_kills_table(figures))
    console.print(_accounts_table(figures))
    for line in figures["wrong"]:
        console.print(f"[red]{line}[/red]", highlight=False)
    if not figures["wrong"]:
        console.print("Chaque réplique a survécu à l'autre ; rien n'est perdu, rien n'est en double.")


def _shares_table(figures: Mapping[str, Any]) -> Table:
    table = Table(
        title=f"Partage au calme : {figures['frames_per_second']:.0f} trames/s, {figures['shards']} partitions"
    )
    table.add_column("service")
    table.add_column("compté")
    for heading in ("1re réplique", "2e réplique", "Mo au plus"):
        table.add_column(heading, justify="right")
    for service, replicas in figures["work_by_replica"].items():
        peaks = [str(figures["peak_megabytes"].get(child, "")) for child in replicas]
        table.add_row(service, WORK_OF[service], *map(str, replicas.values()), " et ".join(peaks))
    return table


def _kills_table(figures: Mapping[str, Any]) -> Table:
    table = Table(title="kill -9 de chaque réplique, l'une après l'autre")
    table.add_column("réplique")
    table.add_column("ensuite")
    for heading in ("reprise (s)", "de retour (s)", "émises", "manquent", "médiane (s)", "la plus lente (s)"):
        table.add_column(heading, justify="right")
    for one in figures["kills"]:
        table.add_row(
            one["replica"],
            "absente" if one["stays_away"] else "relancée",
            *(_number(one[name]) for name in ("served_again_s", "ready_again_s")),
            str(one["sent"]),
            str(one["sent"] - one["stored"]),
            *(_number(one[name]) for name in ("p50_s", "slowest_s")),
        )
    return table


def _number(value: float | None) -> str:
    return "jamais" if value is None else f"{value:.1f}".replace(".", ",")


def _accounts_table(figures: Mapping[str, Any]) -> Table:
    account, split, town = figures["account"], figures["split_gateways"], figures["town"]
    table = Table(title="Comptes")
    table.add_column("")
    table.add_column("", justify="right")
    table.add_row("trames entendues par une passerelle", str(account["heard"]))
    table.add_row("  enregistrées", str(account["stored"]))
    table.add_row("  perdues au bord radio (pont tué)", str(figures["lost_at_the_edge"]))
    table.add_row("  manquantes, en double", f"{account['missing']}, {account['duplicates']}", end_section=True)
    table.add_row("PUSH vers un pont, PULL vers l'autre : activés", str(split["joined"]))
    table.add_row("  trames, manquantes", f"{split['uplinks']}, {split['account']['missing']}")
    answers = f"{split['rx1']} + {split['rx2']} sur {split['answers_awaited']}"
    table.add_row("  réponses en RX1 + RX2", answers, end_section=True)
    table.add_row("messages d'un autre LNS, enregistrés", f"{town['taken']}, {town['stored']}")
    told = f"{town['alerts']}, {town['webhook_ids']}, {town['deliveries']}"
    table.add_row("  alertes, webhook-id distincts, livraisons", told)
    commands = f"{town['commands']['asked']}, {town['commands']['sent']}"
    table.add_row("commandes d'éclairage demandées, parties", commands, end_section=True)
    for name, one in figures["callers"].items():
        counts = f"{one['asked']}, {one['turned']}, {one['failed']}"
        table.add_row(f"{name} : demandes, par l'autre réplique, sans réponse", counts)
        table.add_row("  la plus lente", f"{one['slowest_s']:.2f} s".replace(".", ","))
    return table
