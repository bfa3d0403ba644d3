"""Lambert-93 against published points."""

import math

import pytest

from registry.bulk_imports.lambert93 import Conic, to_degrees


@pytest.mark.parametrize(
    ("x", "y", "latitude", "longitude"),
    [
        # The zero point of France's roads, as the gvSIG community published it after IGN's formulas.
        (652_215.52, 6_861_681.77, 48.8534023472, 2.3487848972),
        # Geofree's answer, quoted at gis.stackexchange.com/questions/70089.
        (668_832.5384, 6_950_138.7285, 49.649610985851474, 2.5686536326051743),
        # The projection's own origin, by definition.
        (700_000.0, 6_600_000.0, 46.5, 3.0),
    ],
)
def test_a_published_point_in_lambert_93_has_its_published_degrees(x, y, latitude, longitude) -> None:
    assert to_degrees(x, y) == pytest.approx((latitude, longitude), abs=1e-7)


def test_igns_test_of_its_inverse_conic_projection_gives_igns_radians() -> None:
    """NTG 71, ALG0004, "jeu d'essai": another ellipsoid and other constants than Lambert-93's."""
    conic = Conic(0.760405966, 11_603_796.9767, 600_000.0, 5_657_616.6740, 0.04079234433, 0.0824832568)

    assert conic.inverse(1_029_705.083, 272_723.849) == pytest.approx((0.872664626, 0.145512099), abs=1e-9)


def test_a_point_far_from_france_has_no_place() -> None:
    assert to_degrees(48.45, -4.25) is None
    assert to_degrees(math.inf, 6_600_000) is None
