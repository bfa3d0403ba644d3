"""What the lab of codecs shows at a terminal."""

import json
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def print_line(text: str) -> None:
    """One line, as it is."""
    _console().print(text, markup=False)


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


def show_codec_test(answer: dict[str, Any]) -> None:
    """Each frame with its values, warnings and console, then the account and the mapping that is proposed."""
    console = _console()
    for frame in answer["frames"]:
        took = "" if frame["cpu_us"] is None else f" [dim]({frame['cpu_us']} µs)[/]"
        console.print(f"[bold]{frame['time']}[/] port {frame['f_port']} {frame['payload']}{took}")
        for value in frame["values"]:
            channel = f" [{value['channel']}]" if value["channel"] else ""
            doubt = "  suspect" if value["suspect"] else ""
            at = "" if value["time"] == frame["time"] else f"  {value['time']}"
            line = f"  {value['quantity']}{channel} = {value['value']:g} {value['unit']}{doubt}{at}"
            console.print(escape(line))
        for style, word, lines in (
            ("red", "illisible", [] if frame["reason"] is None else [frame["reason"]]),
            ("yellow", "attention", [*_nothing_measured(frame), *frame["warnings"]]),
            ("dim", "console", frame["console"]),
        ):
            for line in lines:
                console.print(f"  [{style}]{word}[/] {escape(line)}")
    bare = answer["without_values"]
    read = f"{answer['read']} lues" + (f", dont {bare} sans aucune mesure" if bare else "")
    console.print(f"{answer['codec']} : {read}, {answer['failed']} illisibles")
    if answer["proposed"] and answer["proposed"] != answer["mapping"]:
        console.print("Correspondance proposée :")
        console.print(escape(json.dumps(answer["proposed"], ensure_ascii=False, indent=1)))


def _nothing_measured(frame: dict[str, Any]) -> list[str]:
    """That a frame was read to no use, and which rules of the mapping found nothing in it."""
    said = ["lue, mais aucune mesure"] if frame["read"] and not frame["values"] else []
    if frame["unmatched_rules"]:
        said.append(f"rien trouvé pour : {', '.join(frame['unmatched_rules'])}")
    return said


def show_decoding(answer: dict[str, Any]) -> None:
    """What reads a profile's frames."""
    whose = {"own": "le profil", "shared": "le profil proposé à toutes", "override": "votre choix"}
    version = answer["codec_version_id"]
    line = f"Profil {answer['device_profile_id']} ({whose[answer['source']]}) : lu par {answer['codec']}"
    line += " (natif)" if version is None else f", version {version}"
    if answer["shadow_version_id"] is not None:
        line += f" ; à l'essai : version {answer['shadow_version_id']}"
    _console().print(line)


def propose_redecode(profile: int, since: str) -> None:
    """The command that decodes again what another codec has read since an instant."""
    _console().print("Les trames reçues entre-temps gardent ce que l'autre en a lu. Pour les relire :")
    print_line(f"  ./territoire codec redecode --profile {profile} --from {since}")


def show_versions(items: list[dict[str, Any]]) -> None:
    """A row for each version."""
    table = Table()
    for heading in ("Version", "N°", "Publiée", "Par", "Langage", "SHA-256", "Note", "État"):
        table.add_column(heading, overflow="fold")
    for one in items:
        state = "" if one["quarantined_at"] is None else f"suspendue : {one['quarantine_reason']}"
        table.add_row(
            f"v{one['version']}",
            str(one["id"]),
            one["created_at"][:16],
            one["author"],
            one["language"],
            one["sha256"][:12],
            one["note"],
            state,
        )
    _console().print(table)


def show_shadow(answer: dict[str, Any]) -> None:
    """How the shadow compares, and the last frames that differ."""
    console, count = _console(), answer["count"]
    if answer["shadow_version_id"] is None:
        console.print("Aucune version n'est à l'essai sur ce profil.")
        return
    if count is None:
        console.print(f"Version {answer['shadow_version_id']} à l'essai : aucune trame encore.")
        return
    console.print(
        f"Version {answer['shadow_version_id']} à l'essai : {count['compared']} trames comparées, "
        f"{count['different']} différentes, {count['live_failed']} illisibles par celle qui sert, "
        f"{count['shadow_failed']} par celle à l'essai, {count['dropped']} passées"
    )
    for one in answer["items"]:
        console.print(f"[bold]{one['time']}[/] {one['dev_eui']} port {one['f_port']} {one['payload']}")
        for word, said in (("sert ", one["live"]), ("essai", one["shadow"])):
            values = ", ".join(
                f"{name}{channel and f'[{channel}]'}={value:g}" for _, channel, name, value in said["values"]
            )
            text = said["reason"] or values or "rien"
            console.print(f"  {word} {escape(text)} {escape(' ; '.join(said['warnings']))}")
