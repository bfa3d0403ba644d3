"""What `bench scaling` found: one JSON object for programs, three tables for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from lab.bench.scaling_kills import Blow
from lab.bench.scaling_shares import Shares
from lab.simulator.account import Account

# Of indicators a pass is a minute: nobody waits for one.
VICTIMS = ("gateway_bridge", "network", "ingest", "alerting", "lighting", "intake", "api", "maintenance")
WORK_OF = {
    "gateway_bridge": "copies de trames mises sur le bus",
    "network": "trames acceptées",
    "ingest": "mesures écrites",
    "alerting": "évaluations de règles",
    "lighting": "pas de commandes",
    "intake": "messages d'un autre LNS",
    "api": "réponses",
    "maintenance": "passages faits",
    "indicators": "passages faits",
}
# Of what a split gateway's devices wait for; the rest is the air's (docs/performance.md, "The network service").
GOAL_ANSWERED = 0.97


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator chooses."""

    rate: float = 400.0
    devices: int = 800
    gateways: int = 24
    quiet_s: float = 10.0
    victims: tuple[str, ...] = VICTIMS


@dataclass(frozen=True, slots=True)
class Split:
    """What became of the gateways whose PUSH goes to one bridge and whose PULL to the other."""

    joined: int
    uplinks: int
    awaited: int
    rx1: int
    rx2: int
    account: Account


@dataclass(frozen=True, slots=True)
class Shown:
    """Everything that was seen."""

    options: Options
    shards: int
    shares: Shares
    split: Split
    blows: Sequence[Blow]
    account: Account
    scenario: dict[str, Any]
    callers: dict[str, dict[str, float]]
    megabytes: dict[str, float]
    turns: int


def _blow(blow: Blow) -> dict[str, Any]:
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


def _split(split: Split) -> dict[str, Any]:
    return {
        "joined": split.joined,
        "uplinks": split.uplinks,
        "answers_awaited": split.awaited,
        "rx1": split.rx1,
        "rx2": split.rx2,
        "account": split.account.as_dict(),
    }


def figures_of(shown: Shown) -> dict[str, Any]:
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
        "scenario": shown.scenario,
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
    split, scenario = figures["split_gateways"], figures["scenario"]
    answered = split["rx1"] + split["rx2"]
    if not split["answers_awaited"] or answered < GOAL_ANSWERED * split["answers_awaited"]:
        found.append(f"passerelles partagées : {answered} réponses sur {split['answers_awaited']}")
    unanswered = {name: one["failed"] for name, one in figures["callers"].items() if one["failed"]}
    found += [f"{name} : {count} demandes sans réponse" for name, count in unanswered.items()]
    counted = ("stored", "heard", "alerts", "alarmed", "webhook_ids", "assets_notified")
    found += [
        f"{name} : {scenario[name]} pour {scenario['taken']} messages"
        for name in counted
        if scenario[name] != scenario["taken"]
    ]
    if scenario["forged"]:
        found.append(f"{scenario['forged']} webhooks mal signés")
    if not scenario["commands"]["sent"] or scenario["commands"]["forgotten"]:
        found.append(f"commandes d'éclairage : {scenario['commands']}")
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
    account, split, scenario = figures["account"], figures["split_gateways"], figures["scenario"]
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
    table.add_row("messages d'un autre LNS, enregistrés", f"{scenario['taken']}, {scenario['stored']}")
    delivered = f"{scenario['alerts']}, {scenario['webhook_ids']}, {scenario['deliveries']}"
    table.add_row("  alertes, webhook-id distincts, livraisons", delivered)
    commands = f"{scenario['commands']['asked']}, {scenario['commands']['sent']}"
    table.add_row("commandes d'éclairage demandées, parties", commands, end_section=True)
    for name, one in figures["callers"].items():
        counts = f"{one['asked']}, {one['turned']}, {one['failed']}"
        table.add_row(f"{name} : demandes, par l'autre réplique, sans réponse", counts)
        table.add_row("  la plus lente", f"{one['slowest_s']:.2f} s".replace(".", ","))
    return table
