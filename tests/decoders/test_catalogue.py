"""The catalogue of native codecs."""

import json
from math import isfinite
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from core.model.quantities import QUANTITIES
from decoders.canonical import MalformedPayload
from decoders.catalogue import CODECS
from decoders.codec import Codec, Command, ParameterKind, UnsupportedCommand
from tests.each import each

NOW = 1_795_597_200_000_000  # 2026-11-25T09:00:00Z
# Ports on which some codec listens, so that octets reach more than the first check.
PORTS = (1, 2, 3, 5, 6, 10, 24, 61, 62, 85, 100, 101, 103, 125, 129)


def test_registers_each_codec_under_its_own_name() -> None:
    assert [codec.name for codec in CODECS.values()] == list(CODECS)


def test_has_the_pilot_fleet_s() -> None:
    expected = {"adeunis.tic", "watteco.pulse", "watteco.standard", "watteco.tic", "watteco.triphaso"}
    expected |= {"axioma.w1", "elsys.ers_co2"}
    expected |= {f"milesight.{product}" for product in ("am103", "am319", "em310", "em400")}

    assert expected <= CODECS.keys()


def test_is_in_the_technicians_table() -> None:
    table = (Path(__file__).parents[2] / "docs" / "decoders-natifs.md").read_text("utf-8")

    assert [name for name in CODECS if f"`{name}`" not in table] == []


@settings(max_examples=1_000)
@given(f_port=st.sampled_from(PORTS) | st.integers(1, 223), payload=st.binary(max_size=60))
def test_arbitrary_octets_raise_only_malformed_payload(f_port: int, payload: bytes) -> None:
    for codec in CODECS.values():  # All of them: making up a payload takes longer than decoding it.
        try:
            decoded = codec.decode(f_port, payload, NOW, {})
        except MalformedPayload:
            continue

        json.dumps(decoded.data, allow_nan=False)
        assert {reading.quantity for reading in decoded.readings} <= QUANTITIES.keys(), codec.name
        assert all(isfinite(reading.value) for reading in decoded.readings), codec.name


COMMANDS = [(codec, command) for codec in CODECS.values() for command in codec.commands]


def _values(command: Command) -> st.SearchStrategy[dict[str, object]]:
    """Parameters that the command's own form allows."""

    def value(parameter) -> st.SearchStrategy[object]:
        match parameter.kind:
            case ParameterKind.INTEGER:
                return st.integers(int(parameter.minimum), int(parameter.maximum))
            case ParameterKind.NUMBER:
                return st.floats(parameter.minimum, parameter.maximum)
            case ParameterKind.BOOLEAN:
                return st.booleans()
            case ParameterKind.CHOICE:
                return st.sampled_from(parameter.choices)
            case _:
                return st.text()

    return st.fixed_dictionaries({parameter.name: value(parameter) for parameter in command.parameters})


@each([codec for codec in CODECS.values() if codec.encode])
def test_says_which_commands_it_encodes(codec: Codec) -> None:
    names = [command.name for command in codec.commands]

    assert names
    assert len(set(names)) == len(names)
    assert all(command.label_fr[0].isupper() for command in codec.commands)


@settings(max_examples=2_000)
@given(st.sampled_from(COMMANDS).flatmap(lambda each: st.tuples(st.just(each), _values(each[1]))))
def test_encodes_whatever_its_form_allows_in_few_octets(
    asked: tuple[tuple[Codec, Command], dict[str, object]],
) -> None:
    (codec, command), parameters = asked
    assert codec.encode is not None
    try:
        encoded = codec.encode(command.name, parameters)
    except UnsupportedCommand:  # What a form cannot say: one parameter bound by another.
        return

    assert 1 <= encoded.f_port <= 223
    assert 1 <= len(encoded.payload) <= 51  # What the slowest data rate of Europe carries.
