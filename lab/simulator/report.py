"""The demonstration's account, for people and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lab.gateway.gateway import Gateway
from lab.simulator.account import Account
from lab.simulator.receiver import Received
from lab.simulator.street_lights import LightingAccount

MOST_MEMORY_MB = 600


@dataclass(frozen=True, slots=True)
class DemoReport:
    """Everything that decides whether the demonstration succeeded."""

    seconds: float
    devices: int
    joined: int
    streams_emptied: bool
    uplinks: Account
    bins_over_threshold: int
    received: Received
    lighting: LightingAccount
    gateways: Sequence[Gateway]
    class_c_disturbed: int
    memory_mb: dict[str, float]

    @property
    def checks(self) -> list[tuple[str, bool, str]]:
        """(what must hold, whether it holds, the figures behind it), in French."""
        uplinks, lighting = self.uplinks, self.lighting
        emitted = sum(gateway.account.emitted for gateway in self.gateways)
        immediate = sum(gateway.account.emitted_immediate for gateway in self.gateways)
        refused = sum(sum(gateway.account.refused.values()) for gateway in self.gateways)
        exceeded = sum(gateway.account.duty_cycle_exceeded for gateway in self.gateways)
        repeated = sum(times - 1 for times in self.received.ids.values())
        memory = sum(self.memory_mb.values())
        bin_webhooks = sum(body.get("data", {}).get("rule") == "bin_75" for body in self.received.bodies)
        return [
            ("Files vides à la fin", self.streams_emptied, ""),
            (
                "Chaque trame entendue est enregistrée une seule fois",
                uplinks.balances and uplinks.heard > 0,
                (
                    f"émises {uplinks.sent}, entendues {uplinks.heard}, enregistrées {uplinks.stored}, "
                    f"manquantes {uplinks.missing}, en double {uplinks.duplicates}, inconnues {uplinks.unexpected}"
                ),
            ),
            ("Chaque trame est décodée", uplinks.undecodable == 0, f"non décodées {uplinks.undecodable}"),
            ("Activations", self.joined > 0, f"{self.joined} équipements activés sur {self.devices}"),
            (
                "Un bac passe 75 % et son webhook signé arrive",
                self.bins_over_threshold > 0 and bin_webhooks > 0 and self.received.forged == 0,
                (
                    f"bacs {self.bins_over_threshold}, webhooks {len(self.received.bodies)}, "
                    f"dont bacs {bin_webhooks}, répétés {repeated}, mal signés {self.received.forged}"
                ),
            ),
            (
                "Une commande d'éclairage, émise aussitôt, est relue par l'armoire (classe C)",
                lighting.confirmed_class_c > 0 and immediate > 0,
                f"demandées {lighting.requested}, {_states(lighting.states)}, émissions immédiates {immediate}",
            ),
            (
                "Une commande d'éclairage est relue par le point lumineux (classe A)",
                lighting.confirmed_class_a > 0,
                f"confirmées {lighting.confirmed_class_a}",
            ),
            ("Aucune confirmation contraire à l'état du relais", lighting.untrue == 0, f"{lighting.untrue}"),
            (
                "Les fenêtres de classe A des équipements de classe C sont respectées",
                self.class_c_disturbed == 0,
                (
                    f"descendantes émises {emitted}, refusées par les passerelles {refused}, "
                    f"dans une fenêtre {self.class_c_disturbed}"
                ),
            ),
            ("Rapport cyclique des passerelles respecté", exceeded == 0, f"dépassements {exceeded}"),
            (
                f"Mémoire de la pile sans PostgreSQL sous {MOST_MEMORY_MB} Mo",
                memory < MOST_MEMORY_MB,
                f"{memory:.0f} Mo (PSS)",
            ),
        ]

    @property
    def succeeded(self) -> bool:
        """Whether everything holds."""
        return all(holds for _, holds, _ in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """For demo-report.json."""
        return {
            "succeeded": self.succeeded,
            "seconds": self.seconds,
            "devices": self.devices,
            "joined": self.joined,
            "streams_emptied": self.streams_emptied,
            "uplinks": self.uplinks.as_dict(),
            "bins_over_threshold": self.bins_over_threshold,
            "webhooks": {
                "received": len(self.received.bodies),
                "deliveries": sum(self.received.ids.values()),
                "forged": self.received.forged,
            },
            "lighting": asdict(self.lighting),
            "class_c_disturbed": self.class_c_disturbed,
            "memory_mb": self.memory_mb,
            "gateways": [
                {"gateway_id": gateway.gateway_id.hex(), "received": gateway.received, **asdict(gateway.account)}
                for gateway in self.gateways
            ],
            "checks": [
                {"check": text, "holds": holds, "figures": figures} for text, holds, figures in self.checks
            ],
        }


def _states(states: dict[str, int]) -> str:
    french = {"confirmed": "confirmées", "queued": "en attente", "sent": "émises", "failed": "échouées"}
    return ", ".join(f"{french.get(state, state)} {count}" for state, count in sorted(states.items())) or "aucune"


def print_account(console: Console, report: DemoReport, path: Path) -> None:
    """The account as one table."""
    table = Table(title=f"Compte de la démonstration ({report.seconds:.0f} s)", title_justify="left")
    table.add_column("Ce qui doit être vrai")
    table.add_column("", justify="center")
    table.add_column("Chiffres")
    for text, holds, figures in report.checks:
        table.add_row(text, "[green]oui[/green]" if holds else "[red]NON[/red]", figures)
    console.print(table)
    for example in report.uplinks.examples:
        console.print(f"  {example}")
    for failure in report.lighting.failures + report.lighting.refused:
        console.print(f"  éclairage : {failure}")
    verdict = (
        "[green]Le compte est juste.[/green]" if report.succeeded else "[red]Le compte n'est pas juste.[/red]"
    )
    console.print(f"{verdict} Détail : {path}")
