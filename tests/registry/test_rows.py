from dataclasses import dataclass

import pytest

from registry.rows import Written, arrays, columns_of

WRITTEN = Written("name, quiet_from, digest_at")


@dataclass
class Inner:
    rule_id: int


@dataclass
class Outer:
    id: int
    key: Inner


def test_written_columns_are_named_once_for_insert_and_update() -> None:
    assert WRITTEN.columns == "name, quiet_from, digest_at"
    assert WRITTEN.parameters(2) == "$2, $3, $4"
    assert WRITTEN.patched(2).startswith("name = CASE WHEN 'name' = ANY($5::text[]) THEN $2 ELSE name END, quiet_")


def test_values_come_in_the_order_of_the_columns() -> None:
    assert WRITTEN.values({"digest_at": 3, "name": 1, "quiet_from": 2}) == [1, 2, 3]


def test_a_change_leaves_what_it_does_not_name() -> None:
    assert WRITTEN.changes({"quiet_from": 2}) == [None, 2, None, ["quiet_from"]]
    assert WRITTEN.changes({"digest_at": None}) == [None, None, None, ["digest_at"]]


@pytest.mark.parametrize("partial", [False, True])
def test_a_name_that_is_no_column_is_rejected(partial: bool) -> None:
    with pytest.raises(KeyError, match="digest_ta"):
        WRITTEN.values({"name": 1, "quiet_from": 2, "digest_at": 3, "digest_ta": 3}, partial=partial)


def test_a_column_that_is_missing_from_a_new_row_is_rejected() -> None:
    with pytest.raises(KeyError, match="quiet_from"):
        WRITTEN.values({"name": 1, "digest_at": 3})


def test_columns_and_arrays_follow_the_fields_of_a_row() -> None:
    rows = [Outer(1, Inner(7)), Outer(2, Inner(8))]

    assert columns_of(Outer) == "id, key"
    assert arrays(rows, "id, key.rule_id") == [[1, 2], [7, 8]]
