import pytest

from tests.each import each


def test_a_test_of_many_cases_names_every_one_that_fails_and_goes_on() -> None:
    seen: list[int] = []

    @each([(1, "un"), (2, "deux"), (3, "trois")])
    def check(number: int, name: str) -> None:
        seen.append(number)
        assert number == 2

    with pytest.raises(AssertionError, match=r"(?s)^2 of 3:\n1, un\nAssertionError.*3, trois\nAssertionError"):
        check()
    assert seen == [1, 2, 3]


def test_a_table_without_cases_passes_nothing() -> None:
    check = each([])(print)

    with pytest.raises(AssertionError):
        check()
