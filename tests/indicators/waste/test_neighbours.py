from hypothesis import given
from hypothesis import strategies as st

from indicators.waste.neighbours import Bands, PlacedBin, neighbours_of


def placed(
    number: int, latitude: float | None, longitude: float | None, kind: str = "glass_container"
) -> PlacedBin:
    return PlacedBin(number, number, f"borne {number}", kind, "Brest", latitude, longitude)


def test_neighbours_are_the_five_nearest_of_a_kind_within_two_kilometres() -> None:
    # A thousandth of a degree of latitude is 111 m; at 48.39 degrees one of longitude is 74 m.
    town_hall = placed(1, 48.390, -4.486)
    near = [placed(10 + n, 48.390 + n / 1000, -4.486) for n in (5, 1, 4, 2, 3, 6)]
    elsewhere = [
        placed(20, 48.4081, -4.486),  # 2,013 m to the north.
        placed(21, 48.390, -4.4586),  # 2,023 m to the east.
        placed(22, 48.390, -4.486, "paper_container"),
        placed(23, None, None),
    ]

    found = neighbours_of(town_hall, [town_hall, *elsewhere, *near])

    assert [one.datastream_id for one in found] == [11, 12, 13, 14, 15]
    assert neighbours_of(town_hall, elsewhere) == []
    assert [one.datastream_id for one in neighbours_of(town_hall, [placed(30, 48.390, -4.4594)])] == [30]


def test_without_a_position_a_bin_has_no_neighbours() -> None:
    assert neighbours_of(placed(1, None, -4.4), [placed(2, 48.39, -4.4)]) == []


PLACES = st.tuples(
    st.floats(48.30, 48.45), st.floats(-4.55, -4.40), st.sampled_from(["glass_container", "paper_container"])
)


@given(st.lists(PLACES, min_size=1, max_size=40))
def test_what_is_looked_at_in_bands_has_all_neighbours(places: list[tuple[float, float, str]]) -> None:
    bins = [placed(number, latitude, longitude, kind) for number, (latitude, longitude, kind) in enumerate(places)]
    bands = Bands(bins)

    for one in bins:
        assert neighbours_of(one, bands.around(one)) == neighbours_of(one, bins)
