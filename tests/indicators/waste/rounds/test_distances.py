"""Distances: a known great circle, a given table, and OSRM as it answers over HTTP."""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from indicators.waste.rounds.distances import (
    BLOCK,
    UnusableDistances,
    given_matrix,
    great_circle,
    metres_between,
    osrm_blocks,
)
from indicators.waste.rounds.model import Place
from indicators.waste.rounds.osrm import FALLBACK, road_distances

BREST, METZ = Place(48.3904, -4.4861), Place(49.1193, 6.1757)


def test_a_known_distance() -> None:
    """A degree of a meridian is 111,195 m on the mean sphere; times 1.3, at 30 km/h."""
    assert metres_between(Place(48, 2), Place(49, 2)) == pytest.approx(111_195, abs=1)
    found = great_circle([Place(48, 2), Place(49, 2)], 30)
    assert found.metres == ((0, 144_554), (144_554, 0))
    assert found.seconds[0][1] == round(144_554 * 3.6 / 30)


def test_rows_and_columns_of_a_given_table_are_taken_as_they_are_asked() -> None:
    table = [[0, 1, 2], [3, 0, 4], [5, 6, 0]]
    found = given_matrix(table, None, [0, 2], 36)

    assert (found.source, found.metres, found.seconds) == ("matrix", ((0, 2), (5, 0)), ((0, 0), (0, 0)))


@pytest.mark.parametrize(
    "table", [[[0, 1], [1]], [[0, -1], [1, 0]], [[0, float("inf")], [1, 0]], [[0, 1e12], [1, 0]]]
)
def test_what_is_no_table_of_distances_is_rejected(table) -> None:
    with pytest.raises(UnusableDistances):
        given_matrix(table, None, [0, 1], 30)


class Osrm:
    """OSRM's table service as its documentation has it: distances of places on a line, 100 at once at most."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.broken: bytes | None = None
        osrm = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                osrm.asked.append(self.path)
                text = osrm.broken if osrm.broken is not None else json.dumps(osrm.table(self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def table(self, address: str) -> dict:
        parts = urlsplit(address)
        assert parts.path.startswith("/table/v1/driving/")
        places = [tuple(map(float, one.split(","))) for one in parts.path.rpartition("/")[2].split(";")]
        assert len(places) <= 100
        query = parse_qs(parts.query)
        assert query["annotations"] == ["distance,duration"]
        rows, columns = ([int(n) for n in query[name][0].split(";")] for name in ("sources", "destinations"))
        metres = [[round(1000 * abs(places[a][0] - places[b][0]), 1) for b in columns] for a in rows]
        return {"code": "Ok", "distances": metres, "durations": [[one / 10 for one in row] for row in metres]}


@pytest.fixture
def osrm():
    made = Osrm()
    yield made
    made.server.shutdown()
    made.server.server_close()


def ask(osrm: Osrm, places: list[Place]):
    return asyncio.run(road_distances(osrm.base, places, 30))


def test_osrm_is_asked_in_blocks_and_put_together(osrm) -> None:
    places = [Place(48.0, number / 1000) for number in range(2 * BLOCK + 7)]

    found = ask(osrm, places)

    assert (found.source, found.note, len(osrm.asked)) == ("osrm", "", 9)
    size = range(len(places))
    assert found.metres == tuple(tuple(abs(a - b) for b in size) for a in size)
    assert found.seconds[3][13] == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>", b"{}", b'{"code": "InvalidQuery"}', b"[1]",
        b'{"code": "Ok", "distances": [[0, null], [1, 0]], "durations": [[0, 1], [1, 0]]}',
        b'{"code": "Ok", "distances": [[0, 1]], "durations": [[0, 1], [1, 0]]}',
        b'{"code": "Ok", "distances": [[0, "1"], [1, 0]], "durations": [[0, 1], [1, 0]]}',
    ],
)  # fmt: skip
def test_what_is_no_answer_is_replaced_by_the_great_circle_and_says_so(osrm, answer) -> None:
    osrm.broken = answer

    found = ask(osrm, [BREST, METZ])

    assert found.metres == great_circle([BREST, METZ], 30).metres
    assert found.source == "great_circle"
    assert found.note.startswith(FALLBACK)


def test_an_osrm_that_is_away_is_replaced_too() -> None:
    found = asyncio.run(road_distances("http://127.0.0.1:9", [BREST, METZ], 30))

    assert (found.source, found.note) == ("great_circle", FALLBACK)


def test_blocks_cover_every_pair_once() -> None:
    places = [BREST] * (BLOCK + 1)
    pairs = [(row, column) for rows, columns, _ in osrm_blocks(places) for row in rows for column in columns]

    assert sorted(pairs) == [(a, b) for a in range(BLOCK + 1) for b in range(BLOCK + 1)]
