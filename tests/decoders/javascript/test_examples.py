# ruff: noqa: E501 - A script is easier to read on its one line.
"""What only examples of catalogues do: no time of reception, and what a driver remembers of earlier calls."""

from decoders.javascript.pool import Call, CodecPool, Script

SEES = Script(
    "sees/1",
    "function decodeUplink(i) { return {data: {recvTime: i.recvTime, keys: Object.keys(i), now: Date.now(), known: context.length}} }",
)


async def test_without_a_time_of_reception_a_script_sees_none_and_the_given_clock(pool: CodecPool) -> None:
    (answer,) = await pool.call(
        [Call(SEES, "decodeUplink", {"bytes": [], "fPort": 1, "clock": 1_700_000_000_000})]
    )

    assert answer.output == {"data": {"keys": ["bytes", "fPort"], "now": 1_700_000_000_000, "known": 0}}


async def test_a_context_is_that_of_one_call(pool: CodecPool) -> None:
    given = {"bytes": [], "fPort": 1, "recvTime": 0}

    first, second = await pool.call(
        [Call(SEES, "decodeUplink", given | {"context": [1, 2]}), Call(SEES, "decodeUplink", given)]
    )

    assert first.output is not None
    assert second.output is not None
    assert (first.output["data"]["known"], second.output["data"]["known"]) == (2, 0)
