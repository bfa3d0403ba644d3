"""`territoire codec propose`: a mapping for frames that a vendor's codec has decoded, judged by what he states."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from cli.running import fail, print_json
from core.runtime.errors import file_reason

UNREADABLE = 2


def propose_file(
    file: Annotated[
        Path,
        typer.Argument(
            help="Une trame décodée par ligne, en JSON : « data » (ce que dit le décodeur), « product » (les "
            "trames d'un produit sont lues ensemble), « points » (ce que le fabricant dit y mesurer), « units »."
        ),
    ],
    data_alone: Annotated[
        bool,
        typer.Option(
            "--data-alone",
            help="Sans les unités que disent les « points » : ils ne font alors que juger. Sinon, comme à la "
            "reprise d'un catalogue qui les dit, celle d'un point vaut pour le champ dont il a la valeur.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Un objet par ligne du fichier, puis un objet de chiffres.")
    ] = False,
) -> None:
    """Propose une correspondance pour des trames déjà décodées et la juge ; rien n'est enregistré."""
    lines, now = list(_read(file)), datetime.now(UTC)
    answers, score = propose_lines(lines, now, data_alone=data_alone)
    if not data_alone:
        # Units that come from the points are not judged by them: these figures are what the data alone is worth.
        alone = propose_lines(lines, now, data_alone=True)[1]
        score["from_data_alone"] = {name: alone[name] for name in ("reproduced", "proposed_live", "wrong_live")}
    if as_json:
        for answer in answers:
            print_json(answer)
        print_json(score)
    else:
        _show(answers, score)


def propose_lines(
    lines: Sequence[dict[str, Any]], at: datetime, *, data_alone: bool = False
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """For each line what is proposed and what it reads, as if it had come at `at`; then the figures."""
    from core.model.quantities import QUANTITIES
    from decoders.mapping import Mapping, propose
    from decoders.mapping.doubts import FRENCH
    from decoders.mapping.scoring import Proposed, Score, judge, read_all, read_points
    from decoders.mapping.statements import units_of_points
    from lorawan.instants import from_us, to_us

    points = [read_points(line.get("points")) for line in lines]
    by_product: dict[str, list[int]] = {}
    for number, line in enumerate(lines):
        by_product.setdefault(str(line.get("product") or f"\n{number}"), []).append(number)
    mappings: dict[int, Mapping] = {}
    for numbers in by_product.values():
        samples = [lines[number].get("data") for number in numbers]
        units: dict[str, str] = {}
        if not data_alone:
            units |= units_of_points(samples, [points[number] for number in numbers])
        for number in numbers:
            units |= _units(lines[number])
        mappings |= dict.fromkeys(numbers, propose(samples, units))

    def reading(one: Proposed) -> dict[str, Any]:
        return {
            "quantity": one.reading.quantity,
            "channel": one.reading.channel,
            "value": one.reading.value,
            "unit": QUANTITIES[one.reading.quantity].unit,
            "time": from_us(one.reading.time_us).isoformat(),
        }

    score = Score()
    answers: list[dict[str, Any]] = []
    for number, line in enumerate(lines):
        product = str(line.get("product") or "")
        read = read_all(mappings[number], line.get("data"), to_us(at))
        judge(score, product or str(number + 1), points[number], read)
        answers.append(
            {
                "line": number + 1,
                "product": product,
                "proposed": [
                    rule.as_json()
                    | {
                        "live": rule.to_confirm is None,
                        "why": "" if rule.to_confirm is None else FRENCH[rule.to_confirm],
                        "readings": [reading(one) for one in read if one.rule is rule],
                    }
                    for rule in mappings[number].rules
                    if any(one.rule is rule for one in read)
                ],
            }
        )
    return answers, asdict(score)


def _units(line: dict[str, Any]) -> dict[str, str]:
    units = line.get("units")
    if not isinstance(units, dict):
        return {}
    return {name: unit for name, unit in cast("dict[str, Any]", units).items() if isinstance(unit, str)}


def _read(file: Path) -> Iterator[dict[str, Any]]:
    try:
        texts = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as wrong:
        raise fail(f"{file} : {file_reason(wrong)}", UNREADABLE) from None
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except ValueError as wrong:
            raise fail(f"{file}, ligne {number} : {file_reason(wrong)}", UNREADABLE) from None
        if not isinstance(line, dict) or "data" not in line:
            raise fail(f"{file}, ligne {number} : attendu un objet avec « data »", UNREADABLE)
        yield cast("dict[str, Any]", line)


def _show(answers: Sequence[dict[str, Any]], score: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True)
    for answer in answers:
        console.print(f"[bold]{answer['line']}[/] {escape(answer['product'])}")
        for rule in answer["proposed"]:
            values = ", ".join(f"{one['value']:g}" for one in rule["readings"])
            unit = rule["readings"][0]["unit"]
            channel = f" [{rule['channel']}]" if rule["channel"] else ""
            line = f"{escape(rule['path'])} : {rule['quantity']}{escape(channel)} = {values} {escape(unit)}"
            doubt = "" if rule["live"] else f"  [yellow]à confirmer[/] : {rule['why']}"
            console.print(f"  {line}{doubt}")
    for one in score["wrong"]:
        console.print(
            f"[red]contredit[/] {escape(one['line'])} {escape(one['path'])} : {one['quantity']} = "
            f"{one['value']:g} {escape(one['unit'])}, le fabricant dit {escape(one['point'])} = "
            f"{one['stated']:g} {escape(one['stated_unit'])}"
        )
    console.print(
        f"{score['points']} points, {score['holdable']} que nos grandeurs savent dire, {_share(score, score)} ; "
        f"{score['proposed_live']} valeurs proposées en service, {score['wrong_live']} contredites, "
        f"{score['to_confirm']} à confirmer"
    )
    if "from_data_alone" in score:
        alone = score["from_data_alone"]
        console.print(
            f"Des données seules, sans les unités des points : {_share(alone, score)}, {alone['wrong_live']} "
            f"contredites de {alone['proposed_live']}"
        )


def _share(figures: dict[str, Any], score: dict[str, Any]) -> str:
    share = 100 * figures["reproduced"] / score["holdable"] if score["holdable"] else 0.0
    return f"{figures['reproduced']} reproduits ({share:.1f} %)"
