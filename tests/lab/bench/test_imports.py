"""The outlines of `bench import --by-outlines`: each asset of its files is in one commune."""

from itertools import pairwise

from core.model.outlines import read_outline
from lab.bench.imports import BENDS, COMMUNES, outlines


def test_outlines_lie_side_by_side_and_hold_every_asset() -> None:
    made = outlines(90_000)

    assert len({read_outline(feature).insee for feature in made}) == COMMUNES
    rings = [feature["geometry"]["coordinates"][0] for feature in made]
    for south, north in pairwise(rings):
        assert south[BENDS + 1 : 2 * BENDS + 2] == list(reversed(north[: BENDS + 1]))
    assert max(y for _, y in rings[0][: BENDS + 1]) < 48.0
    assert min(y for _, y in rings[-1][BENDS + 1 : -1]) > 48.89999
