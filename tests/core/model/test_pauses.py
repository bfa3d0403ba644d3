import pytest

from core.model.pauses import growing_pause
from tests.each import each


@each([(0, 0.5), (1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0), (5, 5.0), (100_000, 5.0)])
def test_a_pause_doubles_up_to_its_limit_and_never_overflows(failures: int, seconds: float) -> None:
    assert growing_pause(0.5, 5.0, failures) == seconds


def test_a_pause_grows_by_its_factor() -> None:
    assert growing_pause(0.2, 5.0, 2, factor=1.5) == pytest.approx(0.45)
