import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoders.mapping.paths import EACH, InvalidPath, Where, find, parse_path, path_text

names = st.text(min_size=1, max_size=12)
selectors = st.text(st.characters(exclude_characters="[]=."), min_size=1, max_size=8).filter(lambda t: t != "*")
steps = st.lists(
    st.one_of(names, st.integers(0, 99_999), st.just(EACH), st.builds(Where, selectors, selectors)),
    min_size=1,
    max_size=8,
).map(tuple)


@given(steps)
def test_a_path_is_read_as_it_is_written(path: tuple) -> None:
    assert parse_path(path_text(path)) == path


@given(st.text(max_size=30))
def test_any_text_is_a_path_or_is_rejected(text: str) -> None:
    try:
        path = parse_path(text)
    except InvalidPath:
        return
    assert parse_path(path_text(path)) == path


@pytest.mark.parametrize("text", ["", "a..b", "a.", "[", "a]", "[]", "[-1]", "[=x]", '["a"', "a.[*]b[", "x" * 201])
def test_rejects_what_is_no_path(text: str) -> None:
    with pytest.raises(InvalidPath):
        parse_path(text)


def test_finds_every_element_with_its_place() -> None:
    data = {"history": [{"t": 1}, {"u": 2}, {"t": 3}]}

    found = list(find(parse_path("history[*].t"), data))

    assert [(one.value, one.place, one.places) for one in found] == [(1, 0, 3), (3, 2, 3)]


def test_finds_elements_by_what_they_say_of_themselves() -> None:
    data = [{"variable": "index", "value": 4}, {"variable": "open", "value": True}, 7]

    assert [one.value for one in find(parse_path("[variable=open].value"), data)] == [True]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (4102, "[id=4102].value"),
        (4102.0, "[id=4102].value"),
        ("4102", "[id=4102].value"),
        (-0.5, "[id=-0.5].value"),
        (0, "[id=0].value"),
        (True, "[id=true].value"),
        (False, "[id=false].value"),
    ],
)
def test_finds_elements_by_a_number_or_a_boolean_that_is_written_so(value: object, path: str) -> None:
    others = [{"id": other, "value": 0} for other in (4103, None, [4102], "", 1, "0.0", "True")]
    data = [*others, {"id": value, "value": 21.5}]

    assert [one.value for one in find(parse_path(path), data)] == [21.5]


def test_finds_nothing_where_the_shape_is_another() -> None:
    for data in ({"a": 1}, {"a": [1]}, {"a": None}, [], 3, None):
        assert list(find(parse_path("a.b[2]"), data)) == []
