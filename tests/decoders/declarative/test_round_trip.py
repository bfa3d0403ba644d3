"""Declarations made by Hypothesis: what a command encodes, a frame with the same fields decodes."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from decoders.canonical import MalformedPayload
from decoders.codec import Codec
from decoders.declarative import parse

Fields = tuple[list[dict[str, Any]], dict[str, Any]]  # As declared, and a value for each name.

INTEGERS = {f"{sign}{bits}": (sign, bits) for sign in "ui" for bits in (8, 16, 24, 32, 40, 48, 56, 64)}
ORDERS = st.sampled_from(["big", "little"])
SCALES = st.sampled_from([("0.1", 10), ("0.01", 100), ("1/60", 60), ("-0.5", -2), ("1", 1)])
BOUNDS = {"u": lambda bits: (0, (1 << bits) - 1), "i": lambda bits: (-(1 << bits - 1), (1 << bits - 1) - 1)}


@st.composite
def numbers(draw: st.DrawFn, name: str) -> Fields:
    kind = draw(st.sampled_from([*INTEGERS, *(f"bcd{digits}" for digits in range(2, 18, 2)), "digits"]))
    field: dict[str, Any] = {"type": kind, "name": name, "order": draw(ORDERS)}
    if kind in INTEGERS:
        sign, bits = INTEGERS[kind]
        raw = draw(st.integers(*BOUNDS[sign](bits)))
    else:
        size = draw(st.integers(1, 9)) if kind == "digits" else int(kind.removeprefix("bcd"))
        if kind == "digits":
            field["size"] = size
        raw = draw(st.integers(0, 10**size - 1))
    if abs(raw) < 1 << 40 and draw(st.booleans()):  # Beyond, two neighbours are one float.
        field["scale"], divisor = draw(SCALES)
        if divisor != 1:
            return [field], {name: raw / divisor}
    return [field], {name: raw}


@st.composite
def floats(draw: st.DrawFn, name: str) -> Fields:
    width = draw(st.sampled_from([32, 64]))
    value = draw(st.floats(width=width, allow_nan=False, allow_infinity=False))
    return [{"type": f"f{width}", "name": name, "order": draw(ORDERS)}], {name: value}


@st.composite
def texts(draw: st.DrawFn, name: str) -> Fields:
    if draw(st.booleans()):
        octets = draw(st.binary(min_size=1, max_size=8))
        return [{"type": "hex", "name": name, "size": len(octets)}], {name: octets.hex()}
    text = draw(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=6))
    return [{"type": "ascii", "name": name, "size": 6}], {name: text}


@st.composite
def bits(draw: st.DrawFn, name: str) -> Fields:
    size = draw(st.sampled_from([8, 16, 32]))
    parts, values, low = [], {}, 0
    while low < size:
        width = draw(st.integers(1, size - low))
        signed = width > 1 and draw(st.booleans())
        part = f"{name}_{low}"
        parts.append({"bits": f"{low}-{low + width - 1}", "name": part, "signed": str(signed).lower()})
        values[part] = draw(st.integers(*BOUNDS["i" if signed else "u"](width)))
        low += width
    return [{"type": f"u{size}", "order": draw(ORDERS), "bits": parts}], values


@st.composite
def words(draw: st.DrawFn, name: str) -> Fields:
    table = draw(st.dictionaries(st.integers(0, 255), st.sampled_from(["on", "off", "no", "jour"]), min_size=1))
    table = {
        raw: word for raw, word in table.items() if list(table.values()).index(word) == list(table).index(raw)
    }
    return [{"type": "u8", "name": name, "values": table}], {name: draw(st.sampled_from(list(table.values())))}


@st.composite
def groups(draw: st.DrawFn, name: str) -> Fields:
    chosen = draw(st.integers(0, 9))
    inner, values = draw(numbers(f"{name}_inner"))
    group = {"when": {f"{name}_kind": draw(st.sampled_from(["0-4", 5, "5-9"]))}, "fields": inner}
    present = str(group["when"][f"{name}_kind"])
    low, _, high = present.partition("-")
    holds = int(low) <= chosen <= int(high or low)
    kind = {"type": "u8", "name": f"{name}_kind"}
    return [kind, group], {f"{name}_kind": chosen, **(values if holds else {})}


@st.composite
def repeats(draw: st.DrawFn, name: str) -> Fields:
    inner, _ = draw(numbers("valeur"))
    kind = inner[0]
    records = []
    for _ in range(draw(st.integers(1, 4))):
        sign, width = INTEGERS.get(kind["type"], ("u", 3))
        raw = draw(st.integers(*BOUNDS[sign](min(width, 40))))
        records.append({"valeur": raw % 10 if kind["type"] not in INTEGERS else raw})
    kind.pop("scale", None)
    count = {"type": "u8", "name": f"{name}_count"}
    repeat = {"repeat": {"name": name, "count": f"{name}_count", "fields": inner}}
    return [count, repeat], {name: records}


@st.composite
def codecs(draw: st.DrawFn) -> tuple[Codec, dict[str, Any]]:
    fields: list[dict[str, Any]] = []
    values: dict[str, Any] = {}
    for index in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from([numbers, floats, texts, bits, words, groups, repeats]))
        made, given_values = draw(kind(f"f{index}"))
        fields += made
        values |= given_values
        if draw(st.booleans()):
            fields.append({"skip": draw(st.integers(1, 3))})
    # JSON is YAML.
    declared = {
        "codec": "essai",
        "frames": [{"fields": fields}],
        "commands": {"tout": {"f_port": 7, "fields": fields}},
    }
    return parse(json.dumps(declared, ensure_ascii=False)), values


@given(codecs())
def test_a_frame_decodes_what_a_command_with_the_same_fields_encodes(made: tuple[Codec, dict[str, Any]]) -> None:
    codec, values = made
    assert codec.encode is not None

    encoded = codec.encode("tout", values)
    decoded = codec.decode(encoded.f_port, encoded.payload, 0, {})

    assert encoded.f_port == 7
    assert {name: decoded.data[name] for name in values} == values
    assert decoded.warnings == []


@given(codecs(), st.binary(max_size=60))
def test_arbitrary_octets_raise_only_malformed_payload(made: tuple[Codec, dict[str, Any]], payload: bytes) -> None:
    try:
        decoded = made[0].decode(1, payload, 0, {})
    except MalformedPayload:
        return

    json.dumps(decoded.data, allow_nan=False)


TAGGED = parse("""
codec: etiquettes
order: little
frames:
  - fields:
      - tlv:
          tag: u8
          length: u8
          unknown: skip
          records:
            1: [{type: i16, name: temperature, quantity: temperature, scale: 0.1}]
            2: [{type: u8, name: combien}, {repeat: {name: suite, count: combien, fields: [{type: u8, name: x}]}}]
            3: [{type: hex, name: serie, size: rest}]
commands:
  tout:
    f_port: 1
    fields:
      - tlv:
          tag: u8
          length: u8
          records:
            1: [{type: i16, name: temperature, scale: 0.1}]
            2: [{type: u8, name: combien}, {repeat: {name: suite, count: combien, fields: [{type: u8, name: x}]}}]
            3: [{type: hex, name: serie, size: rest}]
""")


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "temperature": st.integers(-32768, 32767).map(lambda raw: raw / 10),
            "suite": st.lists(st.fixed_dictionaries({"x": st.integers(0, 255)}), min_size=1, max_size=5),
            "serie": st.binary(min_size=1, max_size=5).map(bytes.hex),
        },
    ).filter(bool)
)
def test_tagged_records_are_written_and_read_alike(values: dict[str, Any]) -> None:
    assert TAGGED.encode is not None

    encoded = TAGGED.encode("tout", values)

    data = TAGGED.decode(1, encoded.payload, 0, {}).data
    assert {name: data[name] for name in values} == values


@given(st.binary(max_size=40))
def test_arbitrary_tagged_octets_raise_only_malformed_payload(payload: bytes) -> None:
    try:
        TAGGED.decode(1, payload, 0, {})
    except MalformedPayload:
        return
