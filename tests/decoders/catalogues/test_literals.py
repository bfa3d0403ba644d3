import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cli.catalogue_literals import literal_worker
from decoders.catalogues.files import Catalogue, Unreadable
from decoders.catalogues.literals import LIMITS, Element, Evaluate, value_of
from decoders.javascript.pool import PoolUnavailable
from tests.decoders.catalogues.conftest import InMemory

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=15,
)


def read(text: str, evaluate: Evaluate) -> Any:
    value, wrong = value_of(text, evaluate)
    if wrong:
        raise Unreadable(wrong)
    return value


@pytest.fixture(scope="module")
def reader(evaluate: Evaluate) -> Catalogue:
    return Catalogue(InMemory({}), evaluate)


@given(values, st.booleans())
def test_json_is_read_as_json(reader: Catalogue, value: Any, compact: bool) -> None:
    text = json.dumps(value, indent=None if compact else 2, ensure_ascii=compact)

    assert reader.literal(text) == json.loads(text)


@given(st.text(max_size=40))
def test_any_text_is_read_or_rejected(reader: Catalogue, evaluate: Evaluate, text: str) -> None:
    try:
        read(text, evaluate)
        reader.elements(text)
    except Unreadable:
        return


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{a: 1, 'b': 2, \"c\": 3, 4: 5, $_d: 6,}", {"a": 1, "b": 2, "c": 3, "4": 5, "$_d": 6}),
        ("[0x1F, 0b101, 0o17, -0x10, +.5, 5., 1e3, 1_000]", [31, 5, 15, -16, 0.5, 5.0, 1000.0, 1000]),
        ("// avant\n[1, /* entre */ 2] // après", [1, 2]),
        ("['é\\u00e9\\x41\\n\\'', `deux\nlignes`]", ["éé" + "A\n'", "deux\nlignes"]),
        ("'un ' + \"deux\"", "un deux"),
        ("{a: undefined, b: [undefined, NaN, -Infinity]}", {"b": [None, None, None]}),
        ("module.exports = [true];\n", [True]),
        ("const tests = [false]", [False]),
        ("{at: new Date('2024-03-01T13:00:00+01:00')}", {"at": "2024-03-01T12:00:00.000Z"}),
        ("{at: new Date(1500)}", {"at": "1970-01-01T00:00:01.500Z"}),
        ("{bytes: Buffer.from('01ff', 'hex'), more: Buffer.from([1, 2])}", {"bytes": [1, 255], "more": [1, 2]}),
        ("(((1)))", 1),
        ("[1e999, -1e999]", [None, None]),
    ],
)
def test_what_javascript_writes_and_json_does_not(evaluate: Evaluate, text: str, value: Any) -> None:
    assert read(text, evaluate) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1",
        "1" * 5000,
        "0x" + "f" * 5000,
        "{a 1}",
        "'x",
        "`${x}`",
        "f(1)",
        "new Date()",
        "[1] 2",
        "{a: b}",
        "[" * 200 + "]" * 200,
    ],
)
def test_what_has_to_be_run_is_rejected(evaluate: Evaluate, text: str) -> None:
    with pytest.raises(Unreadable, match="ligne "):
        read(text, evaluate)


def test_one_bad_element_costs_no_other(reader: Catalogue) -> None:
    text = "[{a: 1}, {b: f(x, ['], {']) , c: 2}, `${d}`, 4, ]"

    elements = reader.elements(text)

    assert [element.value for element in elements] == [{"a": 1}, None, None, 4]
    assert [bool(element.wrong) for element in elements] == [False, True, True, False]
    assert elements[0] == Element({"a": 1}, "")


def test_a_text_that_never_ends_is_rejected_as_often_as_it_comes_and_costs_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cli.catalogue_literals.LIMITS", replace(LIMITS, call_s=0.05))

    with literal_worker() as evaluate:
        for number in range(6):
            with pytest.raises(Unreadable, match="ligne 1 : Le codec a échoué : plus de 50 ms"):
                read(f"(() => {{ for (;;); return {number}; }})()", evaluate)

        assert read("{a: 1}", evaluate) == {"a": 1}


def test_what_a_text_changes_is_gone_for_the_next(evaluate: Evaluate) -> None:
    read("(() => { Array.prototype.map = () => 'x'; Object.prototype.a = 'x'; globalThis.b = 1; })()", evaluate)

    assert read("({}).a", evaluate) is None
    with pytest.raises(Unreadable, match="attendu une valeur, trouvé « b »"):
        read("{a: b}", evaluate)


def test_without_a_worker_process_nothing_is_evaluated_and_json_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decoders.javascript.process.sys.executable", "/bin/false")
    monkeypatch.setattr("decoders.javascript.pool.RESTART_AFTER_S", (0.0,))

    with literal_worker() as evaluate:
        reader = Catalogue(InMemory({}), evaluate)

        assert reader.literal('{"a": 1}') == {"a": 1}
        with pytest.raises(PoolUnavailable):
            reader.literal("{a: 1}")
