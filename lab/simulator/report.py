"""The demonstration's account, for people and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lab.gateway.gateway import Gateway
from lab.simulator import campaign, replacement, unlit_cabinet
from lab.simulator.account import Account
from lab.simulator.campaign import CampaignAccount
from lab.simulator.figures import Draining
from lab.simulator.pushed import Pushed
from lab.simulator.receiver import Received
from lab.simulator.street_lights import LightingAccount

MOST_MEMORY_MB = 620
# A frame that is on its way to the gateway when an uplink ends cannot be called back: at dusk and dawn hundreds of
# relays are switched while everybody joins. Without regard for the windows it would be one in ten.
DISTURBED_OF_EMITTED = 0.01
FULL = 76.0  # %. The rule's threshold is 75, and a sensor rounds.
# By then every device has asked to join, has been answered and may have asked again; the time of silence is over.
JOINED_WITHIN_S = 60.0
WEBHOOK_WITHIN_S = 15.0
# The exit status when nothing is wrong, but the time was too short for all that should be seen.
NOT_YET = 4


class Verdict(Enum):
    """What is said of something that must hold; the value is for demo-report.json."""

    YES = "yes"
    NO = "no"
    NOT_YET = "not_yet"  # It has not happened, and could not have been expected in the time that there was.


@dataclass(frozen=True, slots=True)
class Check:
    """What must hold, whether it does, and the figures behind it; texts are French."""

    text: str
    verdict: Verdict
    figures: str


def _holds(*, yes: bool) -> Verdict:
    return Verdict.YES if yes else Verdict.NO


@dataclass(frozen=True, slots=True)
class DemoReport:
    """Everything that decides whether the demonstration succeeded."""

    seconds: float
    devices: int
    joined: int
    draining: Draining
    uplinks: Account
    bins_said_full: int
    bins_over_threshold: int
    first_bin_s_ago: float
    received: Received
    lighting: LightingAccount
    gateways: Sequence[Gateway]
    class_c_disturbed: int
    memory_mb: dict[str, float]
    pushed: Pushed | None = None
    burning: int = 0
    burning_received: int = 0
    replaced_s_ago: float | None = None
    campaign: CampaignAccount = field(default_factory=CampaignAccount)
    unlit: str = ""
    """The cabinet that nothing can light any more."""
    unlit_s_ago: float | None = None
    figures_asked: int = 0
    """Of the months behind the demonstration; `figures_wrong`: those that are not what they were made to be."""
    figures_wrong: tuple[str, ...] = ()

    @property
    def _rejected(self) -> int:
        return sum(sum(gateway.account.refused.values()) for gateway in self.gateways)

    @property
    def _bin_webhooks(self) -> int:
        return sum(body.get("data", {}).get("rule") == "bin_75" for body in self.received.bodies)

    def _notified(self, rule: str, part: str) -> bool:
        """Whether a webhook of this rule has this in its text."""
        return any(
            body.get("data", {}).get("rule") == rule and part in body["data"]["message"]
            for body in self.received.bodies
        )

    def _fire_notified(self) -> Verdict:
        if self._notified("bin_fire", "Valeur improbable"):
            return Verdict.YES
        expected = self.burning_received and self.draining is not Draining.SHRINKING
        return Verdict.NO if expected else Verdict.NOT_YET

    def _replacement_missed(self) -> Verdict:
        if self._notified("device_silent", replacement.NAME):
            return Verdict.YES
        is_late = self.replaced_s_ago is not None and self.replaced_s_ago >= replacement.MISSED_WITHIN_S
        return Verdict.NO if is_late else Verdict.NOT_YET

    def _campaign_went_on(self) -> Verdict:
        """Around dusk nothing may go out: then it waits, as it should."""
        account = self.campaign
        if account.state == "halted":
            return Verdict.NO
        is_on_its_way = account.state in {"running", "ended"} and account.first_proved == account.first
        if is_on_its_way or (account.waits_for_dusk and account.state in {"approved", "canary"}):
            return Verdict.YES
        is_late = account.approved_s_ago is not None and account.approved_s_ago >= campaign.PROVED_WITHIN_S
        return Verdict.NO if is_late else Verdict.NOT_YET

    def _work_ordered(self) -> Verdict:
        is_ordered = any(
            body.get("type") == "work_order.opened"
            and body["data"]["origin"] == "lighting"
            and self.unlit in body["data"]["description"]
            for body in self.received.bodies
        )
        if is_ordered and self._notified("relight_failed", self.unlit):
            return Verdict.YES
        is_late = self.unlit_s_ago is not None and self.unlit_s_ago >= unlit_cabinet.ORDERED_WITHIN_S
        return Verdict.NO if is_late else Verdict.NOT_YET

    @property
    def _staged_checks(self) -> list[Check]:
        """Of what the demonstration stages, and other users of the account do not."""
        checks: list[Check] = []
        if self.burning:
            figures = f"bacs en feu {self.burning}, entendus {self.burning_received}"
            checks.append(
                Check("Un bac brûle à 180 °C, hors de la plage de son capteur", self._fire_notified(), figures)
            )
        if self.replaced_s_ago is not None:
            figures = f"remplacé depuis {self.replaced_s_ago:.0f} s"
            checks.append(
                Check("Un capteur remplacé par un muet est annoncé", self._replacement_missed(), figures)
            )
        if self.campaign.state:
            account = self.campaign
            figures = f"premières {account.first_proved} sur {account.first}, puis {account.others_proved}"
            figures += ", attend que le crépuscule soit passé" if account.waits_for_dusk else ""
            text = "Une campagne approuvée continue quand ses premières armoires l'ont prouvé"
            checks.append(Check(text, self._campaign_went_on(), figures))
        if self.unlit:
            text = "Une armoire que rien ne rallume devient une intervention"
            checks.append(Check(text, self._work_ordered(), self.unlit))
        if self.figures_asked:
            right = self.figures_asked - len(self.figures_wrong)
            figures = ", ".join((f"justes {right} sur {self.figures_asked}", *self.figures_wrong))
            text = "Les indicateurs disent ce que les mois passés ont été faits pour montrer"
            checks.append(Check(text, _holds(yes=not self.figures_wrong), figures))
        return checks

    def _drained(self) -> Verdict:
        verdicts = {Draining.EMPTY: Verdict.YES, Draining.SHRINKING: Verdict.NOT_YET, Draining.STUCK: Verdict.NO}
        return verdicts[self.draining]

    def _stored_once(self) -> Verdict:
        """What is missing may still be in a stream that is being read."""
        account = self.uplinks
        if account.duplicates or account.unexpected or account.undecodable:
            return Verdict.NO
        if account.missing:
            return Verdict.NOT_YET if self.draining is Draining.SHRINKING else Verdict.NO
        if account.sent:
            return _holds(yes=account.heard > 0)
        return Verdict.NOT_YET if self.joined else self._joined()

    def _joined(self) -> Verdict:
        """Gateways reject what comes too late for them: the machine is slow, and not broken."""
        if self.joined:
            return Verdict.YES
        in_time = self.seconds >= JOINED_WITHIN_S and self.draining is Draining.EMPTY and not self._rejected
        return Verdict.NO if in_time else Verdict.NOT_YET

    def _bin_notified(self) -> Verdict:
        if self.received.forged:
            return Verdict.NO
        if not self.bins_over_threshold:
            expected = self.bins_said_full and self.draining is not Draining.SHRINKING
            return Verdict.NO if expected else Verdict.NOT_YET
        if self._bin_webhooks:
            return Verdict.YES
        return Verdict.NO if self.first_bin_s_ago >= WEBHOOK_WITHIN_S else Verdict.NOT_YET

    def _lit(self, *, confirmed: int, unconfirmed: int) -> Verdict:
        """Of the commands of one class: those not asked for, or still on their way, had no time."""
        if confirmed:
            return Verdict.YES
        return Verdict.NO if unconfirmed or self.lighting.refused else Verdict.NOT_YET

    def _lit_at_once(self, immediate: int) -> Verdict:
        lighting = self.lighting
        if lighting.confirmed_class_c and not immediate:
            return Verdict.NO
        return self._lit(confirmed=lighting.confirmed_class_c, unconfirmed=lighting.unconfirmed_class_c)

    @property
    def _pushed_checks(self) -> list[Check]:
        pushed = self.pushed
        if pushed is None:
            return []
        twice = sum(times > 1 for times in pushed.counted("new", "late").values())
        is_whole = not pushed.wrong and not twice and not pushed.received.forged
        figures = (
            f"lots {len(pushed.batches)}, niveaux {len(pushed.items)}, en double {twice}, "
            f"mal signés {pushed.received.forged}"
        )
        return [
            Check(
                "Les niveaux des bacs sont poussés à une application, par lots signés, sans manque ni double",
                _holds(yes=is_whole) if pushed.items else Verdict.NOT_YET,
                ", ".join((figures, *pushed.wrong)),
            )
        ]

    @property
    def checks(self) -> list[Check]:
        """Everything that must hold."""
        uplinks, lighting = self.uplinks, self.lighting
        emitted = sum(gateway.account.emitted for gateway in self.gateways)
        immediate = sum(gateway.account.emitted_immediate for gateway in self.gateways)
        exceeded = sum(gateway.account.duty_cycle_exceeded for gateway in self.gateways)
        repeated = sum(times - 1 for times in self.received.ids.values())
        memory = sum(self.memory_mb.values())
        return [
            Check("Files vides à la fin", self._drained(), ""),
            Check(
                "Chaque trame entendue est enregistrée une seule fois",
                self._stored_once(),
                (
                    f"émises {uplinks.sent}, entendues {uplinks.heard}, enregistrées {uplinks.stored}, "
                    f"manquantes {uplinks.missing}, en double {uplinks.duplicates}, inconnues {uplinks.unexpected}"
                ),
            ),
            Check(
                "Chaque trame est décodée",
                _holds(yes=uplinks.undecodable == 0),
                f"non décodées {uplinks.undecodable}",
            ),
            Check("Activations", self._joined(), f"{self.joined} équipements activés sur {self.devices}"),
            Check(
                "Un bac passe 75 % et son webhook signé arrive",
                self._bin_notified(),
                (
                    f"bacs {self.bins_over_threshold}, webhooks {len(self.received.bodies)}, "
                    f"dont bacs {self._bin_webhooks}, répétés {repeated}, mal signés {self.received.forged}"
                ),
            ),
            *self._staged_checks,
            *self._pushed_checks,
            Check(
                "Une commande d'éclairage, émise aussitôt, est relue par l'armoire (classe C)",
                self._lit_at_once(immediate),
                f"demandées {lighting.requested}, {_states(lighting.states)}, émissions immédiates {immediate}",
            ),
            Check(
                "Une commande d'éclairage est relue par le point lumineux (classe A)",
                self._lit(confirmed=lighting.confirmed_class_a, unconfirmed=lighting.unconfirmed_class_a),
                f"confirmées {lighting.confirmed_class_a}",
            ),
            Check(
                "Aucune confirmation contraire à l'état du relais",
                _holds(yes=lighting.untrue + self.campaign.untrue == 0),
                f"{lighting.untrue + self.campaign.untrue}",
            ),
            Check(
                "Les fenêtres de classe A des équipements de classe C sont respectées",
                _holds(yes=self.class_c_disturbed <= DISTURBED_OF_EMITTED * emitted),
                (
                    f"descendantes émises {emitted}, refusées par les passerelles {self._rejected}, "
                    f"dans une fenêtre {self.class_c_disturbed}"
                ),
            ),
            Check(
                "Rapport cyclique des passerelles respecté", _holds(yes=exceeded == 0), f"dépassements {exceeded}"
            ),
            Check(
                f"Mémoire de la pile sans PostgreSQL sous {MOST_MEMORY_MB} Mo",
                _holds(yes=memory < MOST_MEMORY_MB),
                f"{memory:.0f} Mo (PSS)",
            ),
        ]

    @property
    def status(self) -> int:
        """The exit status: 0 when everything holds, 1 when something does not, else NOT_YET."""
        verdicts = {check.verdict for check in self.checks}
        if Verdict.NO in verdicts:
            return 1
        return NOT_YET if Verdict.NOT_YET in verdicts else 0

    def as_dict(self) -> dict[str, Any]:
        """For demo-report.json."""
        return {
            "succeeded": self.status == 0,
            "seconds": self.seconds,
            "devices": self.devices,
            "joined": self.joined,
            "streams_emptied": self.draining is Draining.EMPTY,
            "uplinks": self.uplinks.as_dict(),
            "bins_over_threshold": self.bins_over_threshold,
            "webhooks": {
                "received": len(self.received.bodies),
                "deliveries": sum(self.received.ids.values()),
                "forged": self.received.forged,
            },
            "lighting": asdict(self.lighting),
            "campaign": asdict(self.campaign),
            "figures": {"asked": self.figures_asked, "wrong": list(self.figures_wrong)},
            "class_c_disturbed": self.class_c_disturbed,
            "memory_mb": self.memory_mb,
            "gateways": [
                {"gateway_id": gateway.gateway_id.hex(), "received": gateway.received, **asdict(gateway.account)}
                for gateway in self.gateways
            ],
            "checks": [
                {
                    "check": check.text,
                    "holds": check.verdict is Verdict.YES,
                    "verdict": check.verdict.value,
                    "figures": check.figures,
                }
                for check in self.checks
            ],
        }


def _states(states: dict[str, int]) -> str:
    french = {
        "applied": "appliquées",
        "confirmed": "confirmées",
        "unproven": "sans preuve possible",
        "queued": "en attente",
        "sent": "émises",
        "failed": "échouées",
        "expired": "expirées",
        "superseded": "remplacées",
    }
    return ", ".join(f"{french.get(state, state)} {count}" for state, count in sorted(states.items())) or "aucune"


SHOWN = {
    Verdict.YES: "[green]oui[/green]",
    Verdict.NO: "[red]NON[/red]",
    Verdict.NOT_YET: "[yellow]pas eu le temps[/yellow]",
}
CONCLUSIONS = {
    0: "[green]Le compte est juste.[/green]",
    1: "[red]Le compte n'est pas juste.[/red]",
    NOT_YET: "[yellow]Rien n'est faux, mais tout n'a pas eu le temps d'arriver[/yellow] : allongez --exit-after.",
}


def print_account(console: Console, report: DemoReport, path: Path) -> None:
    """The account as one table."""
    table = Table(title=f"Compte de la démonstration ({report.seconds:.0f} s)", title_justify="left")
    table.add_column("Ce qui doit être vrai")
    table.add_column("", justify="center")
    table.add_column("Chiffres")
    for check in report.checks:
        table.add_row(check.text, SHOWN[check.verdict], check.figures)
    console.print(table)
    for example in report.uplinks.examples:
        console.print(f"  {example}")
    for failure in report.lighting.failures + report.lighting.refused:
        console.print(f"  éclairage : {failure}")
    console.print(f"{CONCLUSIONS[report.status]} Détail : {path}")
