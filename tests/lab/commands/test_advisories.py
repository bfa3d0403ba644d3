"""Dependencies are audited against advisories; without an answer nothing is called audited."""

from pathlib import Path

import httpx
import pytest

from lab.commands.advisories import Unreachable, ask, locked

CHECKOUT = Path(__file__).resolve().parents[3]
LIBRARIES = [("fine", "1.0"), ("holed", "2.0")]


def answering(body: object, status: int = 200) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(status, json=body))


def test_a_library_with_an_advisory_is_named_with_it_and_every_locked_one_is_asked_about() -> None:
    found = ask(LIBRARIES, answering({"results": [{}, {"vulns": [{"id": "GHSA-1"}, {"id": "CVE-2"}]}]}))
    everything = locked(CHECKOUT)

    assert found == ["holed 2.0 : GHSA-1, CVE-2"]
    assert {"fastapi", "cryptography", "pytest"} <= {name for name, _ in everything}
    assert all(version[0].isdigit() for _, version in everything)


@pytest.mark.parametrize(
    "transport",
    [answering({"results": [{}]}), answering({}), answering([]), answering({"results": [{}, {}]}, 503)],
)
def test_an_answer_that_is_none_or_speaks_of_fewer_libraries_audits_nothing(
    transport: httpx.MockTransport,
) -> None:
    with pytest.raises(Unreachable):
        ask(LIBRARIES, transport)
