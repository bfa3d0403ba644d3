"""Against Anscombe's first quartet, printed tables of Student's t, and a naive oracle by normal equations."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indicators.buildings.regression import TooFewPoints, fit_line, fit_mean, half_width, student_quantile


def test_anscombes_first_quartet() -> None:
    # F. J. Anscombe, "Graphs in Statistical Analysis", 1973: y = 3.00 + 0.500 x, R2 0.667, residuals 13.75.
    xs = [10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5]
    ys = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68]

    fit = fit_line(xs, ys)

    assert (round(fit.intercept, 2), round(fit.slope, 3), round(fit.r2, 3)) == (3.0, 0.5, 0.667)
    assert (fit.n, fit.dof) == (11, 9)
    assert fit.residual_s == pytest.approx(math.sqrt(13.76 / 9), abs=1e-3)
    assert fit.cv_rmse == pytest.approx(1.2366 / 7.5009, abs=1e-4)


@pytest.mark.parametrize(
    ("dof", "table"),
    # NIST/SEMATECH e-Handbook, 1.3.6.7.2, the column of 0.975.
    [
        (1, 12.706),
        (2, 4.303),
        (3, 3.182),
        (9, 2.262),
        (10, 2.228),
        (11, 2.201),
        (22, 2.074),
        (34, 2.032),
        (100, 1.984),
    ],
)
def test_students_quantiles_are_those_of_the_table(dof: int, table: float) -> None:
    assert student_quantile(0.975, dof) == pytest.approx(table, abs=6e-4)


def test_the_interval_of_one_new_point_is_the_textbooks() -> None:
    # y of x = 1..5: 2, 4, 5, 4, 5: slope 0.6, intercept 2.2, errors 2.4 over 3: s = 0.894427, x mean 3, spread 10.
    # At x = 6: s sqrt(1 + 1/5 + 9/10) = 1.296148, times t(3) 3.182446 = 4.124922.
    fit = fit_line([1, 2, 3, 4, 5], [2, 4, 5, 4, 5])

    assert half_width(fit, [1.0], [6.0]) == pytest.approx(4.124922, abs=1e-5)


def test_the_interval_of_a_sum_around_a_mean() -> None:
    # Mean of 4, 6, 8: s = 2; of a sum of two new ones: 2 sqrt(2 + 4/3) = 3.651484, times t(2) 4.302653.
    fit = fit_mean([4, 6, 8])

    assert (fit.intercept, fit.r2, fit.cv_rmse) == (6, None, pytest.approx(1 / 3))
    assert half_width(fit, [1.0, 1.0], [0.0, 0.0]) == pytest.approx(3.651484 * 4.302653, abs=1e-4)


@pytest.mark.parametrize("xs", [[], [1.0], [1.0, 2.0], [7.0] * 12])
def test_no_line_through_too_few_points(xs: list[float]) -> None:
    with pytest.raises(TooFewPoints):
        fit_line(xs, xs)


@given(st.lists(st.tuples(st.floats(0, 500), st.floats(0, 5000)), min_size=4, max_size=40))
def test_the_line_is_that_of_the_normal_equations(points: list[tuple[float, float]]) -> None:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    if max(xs) - min(xs) < 1:
        return
    # Cramer's rule on [[n, sx], [sx, sxx]] (a, b) = (sy, sxy).
    n, sx, sy = len(xs), sum(xs), sum(ys)
    sxx, sxy = sum(x * x for x in xs), sum(x * y for x, y in points)
    det = n * sxx - sx * sx
    a, b = (sy * sxx - sx * sxy) / det, (n * sxy - sx * sy) / det

    fit = fit_line(xs, ys)

    assert fit.slope == pytest.approx(b, rel=1e-6, abs=1e-4)
    assert fit.intercept == pytest.approx(a, rel=1e-6, abs=1e-2)
