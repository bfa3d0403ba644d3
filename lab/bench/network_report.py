"""What `bench network` found, for people."""

from typing import Any

from rich.console import Console
from rich.table import Table

from lab.bench.answers import GOAL_RX1
from lab.bench.report import QUIET_CORES
from lab.bench.storm import GOAL_P99_MS


def print_answers(console: Console, figures: dict[str, Any]) -> None:
    """The even rate: the account, the windows, the delays."""
    table = Table(
        title=f"{figures['gateways']} passerelles, {figures['frames_per_second']:.0f} trames/s pendant "
        f"{figures['seconds']:.0f} s"
    )
    table.add_column("")
    table.add_column("", justify="right")
    for name, key in (
        ("émises", "sent"),
        ("entendues (une passerelle écoutait)", "heard"),
        ("copies transmises par les passerelles", "copies"),
        ("copies sur le bus", "ours"),
        ("publiées par le réseau", "published"),
        ("enregistrées", "stored"),
        ("perdus par le noyau (UDP)", "udp_drops"),
    ):
        table.add_row(name, f"{figures[key]}")
    table.add_row("réponses de classe A attendues", f"{figures['answers_awaited']}", end_section=True)
    for name, key in (("RX1", "rx1"), ("RX2", "rx2"), ("ni l'une ni l'autre", "neither")):
        table.add_row(f"  en {name}" if key != "neither" else f"  {name}", _share(figures, key))
    perfect = 100 * figures["rx1_share_of_a_perfect_network"]
    table.add_row("RX1 permis par l'air, une copie par trame", f"{perfect:.2f} %")
    table.add_row("but", f"{100 * GOAL_RX1:.0f} % en RX1", end_section=True)
    table.add_row("demandes aux passerelles", _counts(figures["requests_by_answer"]))
    table.add_row("refusées par leur radio", _counts(figures["refused_by_gateways"]))
    table.add_row("hors des fenêtres", f"{figures['outside_windows']}")
    table.add_row("dépassements du rapport cyclique", f"{figures['duty_cycle_exceeded']}", end_section=True)
    table.add_row("datagramme à commit", f"p50 {figures['p50_ms']:.0f} ms, p99 {figures['p99_ms']:.0f} ms")
    cores = figures["cores_by_process"]
    table.add_row("cœurs", ", ".join(f"{name} {cpu:.2f}" for name, cpu in cores.items() if cpu >= 0.01))  # noqa: PLR2004
    table.add_row("générateur, à part", f"{figures['generator_cores']:.2f}")
    table.add_row("ailleurs sur la machine", f"{figures['cores_busy_elsewhere']:.2f}")
    console.print(table)
    if figures["cores_busy_elsewhere"] > QUIET_CORES:
        console.print("[yellow]La machine n'est pas au repos[/yellow] : les délais ne valent que pour ce moment.")
    verdict = (
        "[green]Rien n'est perdu.[/green]" if figures["is_exact"] else "[red]Le compte n'est pas juste.[/red]"
    )
    console.print(verdict)
    for example in figures["account"]["examples"][:5]:
        console.print(f"  {example}", highlight=False)


def print_throughput(console: Console, figures: dict[str, Any]) -> None:
    """Frames per core, and the ceiling."""
    table = Table(
        title=f"Serveur de réseau seul, médianes de {figures['runs']} mesures de {figures['frames']:.0f} trames"
    )
    for heading in ("", "trames/s par cœur", "trames/s", "µs CPU par trame"):
        table.add_column(heading, justify="right" if heading else "left")
    cpu = figures["cpu_us_per_frame"]
    table.add_row(
        "réseau",
        f"{figures['frames_per_second_per_core']:.0f}",
        f"{figures['frames_per_second']:.0f}",
        f"{cpu['network']}",
    )
    table.add_row(
        "plafond : bus, cryptographie, un UPDATE groupé",
        f"{figures['ceiling_frames_per_second_per_core']:.0f}",
        f"{figures['ceiling_frames_per_second']:.0f}",
        f"{figures['ceiling_cpu_us_per_frame']}",
        end_section=True,
    )
    table.add_row("rapport", f"{figures['ratio_to_ceiling']:.2f}")
    table.add_row("PostgreSQL, nats", "", "", f"{cpu['postgres']}, {cpu['nats']}")
    console.print(table)


def print_storm(console: Console, figures: dict[str, Any]) -> None:
    """Who has joined when, what the air allowed, and what became of data frames meanwhile."""
    whole = figures["all"]
    table = Table(
        title=f"Tempête d'activations : {whole['devices']} équipements, {figures['gateways']} passerelles"
    )
    for heading in ("", "activés", "p50", "p95", "dernier", "demandes par équipement"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, key in (("DR5", "dr5"), ("DR0", "dr0"), ("ensemble", "all")):
        group = figures[key]
        table.add_row(
            name,
            f"{group['joined']}/{group['devices']}",
            f"{group['p50_s']:.0f} s",
            f"{group['p95_s']:.0f} s",
            f"{group['last_s']:.0f} s",
            f"{group['attempts']:.1f} (au plus {group['most_attempts']})",
        )
    console.print(table)
    requests = ", ".join(f"demandes {name} {seconds:.0f} s" for name, seconds in figures["air_requests_s"].items())
    lines = [
        f"L'air permet, au mieux : {figures['air_allows_s']:.0f} s ({requests},",
        f"acceptations {figures['air_accepts_s']:.0f} s par passerelle) ; but {figures['within_s']:.0f} s.",
        f"Entendus à temps par une passerelle : {figures['joined_if_each_heard_request_were_answered']}.",
        f"\nPerdues sur les ondes : par collision {figures['collided']}, par surdité {figures['deaf']} ;",
        f"descendantes émises {figures['emitted']}, brouillées {figures['spoilt_downlinks']},",
        f"refusées par les radios : {_counts(figures['refused_by_gateways'])} ;",
        f"dépassements {figures['duty_cycle_exceeded']}.",
        f"\nActivations : {_counts(figures['joins_by_result'])}.",
        f"\nDemandes aux passerelles : {_counts(figures['requests_by_answer'])}.",
        f"\nTrames de données : {figures['data_frames']} entendues, p50 {figures['p50_ms']:.0f} ms,",
        f"p99 {figures['p99_ms']:.0f} ms (but {GOAL_P99_MS} ms) ; {_loss(figures)}",
    ]
    console.print(" ".join(lines), highlight=False, soft_wrap=True)


def _loss(figures: dict[str, Any]) -> str:
    account = figures["account"]
    return "aucune perdue." if figures["is_exact"] else f"manquantes {account['missing']}."


def _share(figures: dict[str, Any], key: str) -> str:
    return f"{100 * figures[f'{key}_share']:.2f} % ({figures[key]})"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "aucune"
