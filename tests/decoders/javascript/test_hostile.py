# ruff: noqa: E501 - A script is easier to read on its one line.
"""Hostile scripts on real worker processes fail alone (docs/decoders-javascript.md, "Hostile scripts")."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from decoders.javascript.pool import CodecPool, Limits, PoolUnavailable, Script
from tests.decoders.javascript.conftest import NEIGHBOUR, started_pool, uplink

pytestmark = pytest.mark.starts_processes

IN_CALL = "function decodeUplink(input) {{ {} }}"
# A quarter of the usual, and longer than PATIENCE_S: who waited for it to its end would be seen.
SHORT_LOAD = Limits(load_s=0.5)

# (what it is, source, how the answer calls it, what it says in French)
CASES = [
    ("a loop", IN_CALL.format("while (true) {}"), "timeout", "100 ms de calcul"),
    ("a loop that catches", IN_CALL.format("while (true) { try { while (true) {} } catch (e) {} }"), "timeout", "100 ms"),
    ("a loop while loading", "while (true) {}", "timeout", "0.5 s de calcul"),
    ("a filled array", IN_CALL.format("return {data: new Array(1e9).fill(0)}"), "memory", "mémoire"),
    ("an array that grows", IN_CALL.format("const a = []; while (true) a.push('x'.repeat(99999 + a.length))"), "memory", "mémoire"),
    ("a vast typed array", IN_CALL.format("return {data: new Uint8Array(2e9).length}"), "memory", "mémoire"),
    ("typed arrays", IN_CALL.format("const a = []; while (true) a.push(new Uint8Array(1e6))"), "memory", "mémoire"),
    ("a string that grows", IN_CALL.format("let s = 'x'; while (true) s += s"), "script", "string too long"),
    ("a long string", IN_CALL.format("return {data: 'x'.repeat(1 << 29)}"), "memory", "mémoire"),
    ("recursion", IN_CALL.format("return (function f() { return f() + 1 })()"), "script", "récursion sans fin"),
    ("recursion while loading", "(function f() { return f() + 1 })()", "script", "récursion sans fin"),
    ("a deep array", IN_CALL.format("let a = []; for (let i = 0; i < 200000; i++) a = [a]; return {data: JSON.stringify(a)}"), "script", "récursion sans fin"),
    ("a deep result", IN_CALL.format("let a = []; for (let i = 0; i < 100000; i++) a = [a]; return {data: a}"), "output", "10 niveaux"),
    ("ReDoS", IN_CALL.format("return {data: /^(a+)+$/.test('a'.repeat(40) + 'b')}"), "timeout", "100 ms"),
    ("squares of a BigInt", IN_CALL.format("let x = 10n; while (true) x = x * x"), None, ""),
    ("a long sort", "const a = []; for (let i = 0; i < 3e5; i++) a.push((i * 7919) % 300007);" + IN_CALL.format("while (true) a.sort((x, y) => y - x).reverse()"), "timeout", "100 ms"),
    ("a sparse result", IN_CALL.format("return {data: new Array(1e9)}"), None, ""),  # Too long, or too slow to count.
    ("a result too long", IN_CALL.format("return {data: {text: 'x'.repeat(300000)}}"), "output", "256 Ko"),
    ("many numbers", IN_CALL.format("return {data: new Array(60000).fill(0.123456789012345)}"), "output", "256 Ko"),
    ("too many keys", IN_CALL.format("const o = {}; for (let i = 0; i < 201; i++) o['k' + i] = i; return {data: o}"), "output", "200 clés"),
    ("a cycle", IN_CALL.format("const o = {}; o.o = o; return {data: o}"), "output", "10 niveaux"),
    ("a toJSON bomb", IN_CALL.format("const b = {toJSON() { return {a: b, b: b} }}; return {data: b}"), "output", "10 niveaux"),
    ("a toJSON that never ends", IN_CALL.format("return {data: {toJSON() { while (true) {} }}}"), "timeout", "100 ms"),
    ("a getter that throws", IN_CALL.format("return {data: {get a() { throw new Error('non') }}}"), "script", "Error: non"),
    ("a Proxy that throws", IN_CALL.format("return new Proxy({}, {get() { throw new Error('non') }})"), "script", "Error: non"),
    ("a Proxy without end", IN_CALL.format("return {data: new Proxy({}, {ownKeys() { while (true) {} }})}"), "timeout", "100 ms"),
    ("a Proxy of many keys", IN_CALL.format("return {data: new Proxy({}, {ownKeys() { return Array.from({length: 500}, (_, i) => 'k' + i) }, getOwnPropertyDescriptor() { return {value: 1, enumerable: true, configurable: true} }})}"), "output", "200 clés"),
    ("an async function", "async function decodeUplink() { return {data: {}} }", "script", "une promesse"),
    ("a promise", IN_CALL.format("return Promise.resolve({data: {}})"), "script", "une promesse"),
    ("a generator", "function* decodeUplink() { while (true) yield 1 }", "script", "un générateur"),
    ("an endless generator", IN_CALL.format("return {data: [...(function* () { while (true) yield 1 })()]}"), None, ""),
    ("promises without end", IN_CALL.format("const f = () => Promise.resolve().then(f); f(); while (true) f()"), None, ""),
    ("nothing thrown", IN_CALL.format("throw undefined"), "script", "undefined"),
    ("an exception that hides", IN_CALL.format("throw {get message() { throw 1 }}"), "script", "exception illisible"),
    ("an exception without end", IN_CALL.format("throw {get message() { while (true) {} }}"), "timeout", "100 ms"),
    ("an exception of 10 MB", IN_CALL.format("throw new Error('x'.repeat(1e7))"), "script", "Error: xxx"),
    ("bad syntax", "function decodeUplink( {", "script", "ne se charge pas : SyntaxError"),
    ("an exception while loading", "throw new Error('non')", "script", "ne se charge pas : Error: non"),
    ("too much source", "//" + "x" * 600_000, "script", "512 Ko"),
    ("memory while loading", "const a = []; while (true) a.push(new Uint8Array(1e6))", "memory", "mémoire"),
    # The engine's own words for what stopped it are asked of the script, outside of any limit: the pool kills.
    ("words without end", "Error.prototype.toString = InternalError.prototype.toString = () => { while (true) {} };" + IN_CALL.format("while (true) {}"), "worker", "une seconde"),
    ("words without end while loading", "throw {toString() { while (true) {} }}", "worker", "une seconde"),
]  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_pool() -> AsyncIterator[CodecPool]:
    async with started_pool(SHORT_LOAD) as started:
        yield started


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("source", "failure", "reason"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
async def test_a_hostile_script_fails_alone_and_its_failure_is_in_french(
    shared_pool: CodecPool, source: str, failure: str | None, reason: str
) -> None:
    """All of them on one worker, after each other, with the same neighbour."""
    pool, before_it = shared_pool, shared_pool.restarts
    hostile = Script(f"hostile/{hash(source)}", source)
    calls = [uplink(NEIGHBOUR, b"\x01"), uplink(hostile), uplink(NEIGHBOUR, b"\x02"), uplink(NEIGHBOUR, b"\x03")]

    before, bad, *after = await pool.call(calls)

    assert [answer.output for answer in (before, *after)] == [{"data": {"first": value}} for value in (1, 2, 3)]
    assert bad.output is None
    assert bad.failure == (failure or bad.failure)
    assert bad.failure is not None
    assert reason in bad.reason
    assert len(bad.reason) < 500
    assert pool.restarts - before_it == (1 if bad.failure == "worker" else 0)


async def test_a_sparse_array_costs_no_memory(decode) -> None:
    answer = await decode(IN_CALL.format("return {data: {length: new Array(1e9).length}}"))

    assert answer.output == {"data": {"length": 1_000_000_000}}


async def test_what_a_script_breaks_is_whole_again_at_its_next_call(pool: CodecPool) -> None:
    """The context of a failed call is dropped, with whatever the call left in it."""
    script = Script(
        "breaks/1",
        "let broken = false;" + IN_CALL.format("if (broken) return {data: 1}; broken = true; while (1) {}"),
    )

    answers = await pool.call([uplink(script)] * 3)

    assert [answer.failure for answer in answers] == ["timeout"] * 3


async def test_a_worker_that_is_killed_loses_the_call_in_hand_only(pool: CodecPool) -> None:
    slow = Script("slow/1", IN_CALL.format("const end = input.bytes[0] * 20000; let n = 0; while (n < end) n++; return {data: n}"))  # fmt: skip
    calls = [uplink(slow, bytes([number % 10 + 1])) for number in range(200)]
    answering = asyncio.create_task(pool.call(calls))
    (pid,) = pool.pids
    while not _is_busy(pid):  # noqa: ASYNC110 - Another process.
        await asyncio.sleep(0.005)

    os.kill(pid, signal.SIGKILL)
    answers = await answering

    lost = [answer for answer in answers if answer.failure is not None]
    assert [answer.failure for answer in lost] in (["worker"], [])  # Nothing, when it was between two calls.
    assert all("son processus" in answer.reason for answer in lost)
    expected = [{"data": (number % 10 + 1) * 20000} for number in range(200)]
    assert [a.output for a in answers if a.failure is None] == [
        output for output, a in zip(expected, answers, strict=True) if a.failure is None
    ]
    assert pool.restarts == 1


def _is_busy(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] == "R"


async def test_a_frozen_worker_is_replaced(pool: CodecPool) -> None:
    (pid,) = pool.pids
    os.kill(pid, signal.SIGSTOP)

    (answer,) = await pool.call([uplink(NEIGHBOUR)])

    assert answer.output == {"data": {"first": 1}}  # It had no call in hand.
    assert pool.pids != [pid]


async def test_five_overruns_in_ten_minutes_stop_a_version_and_are_reported_once() -> None:
    told: list[str] = []
    pool = CodecPool(1, overran=told.append)
    await pool.start()
    try:
        slow = Script("slow/1", IN_CALL.format("while (true) {}"))

        answers = await pool.call([uplink(slow), uplink(NEIGHBOUR)] * 20)

        overran = [answer for answer in answers if answer.cpu_us > 50_000]
        assert told == ["slow/1"]
        assert 5 <= len(overran) <= 7  # The batch under way ends.
        stopped = [answer for answer in answers[::2] if answer not in overran]
        assert {answer.failure for answer in stopped} == {"timeout"}
        assert all("quarantaine" in answer.reason for answer in stopped)
        assert [answer.failure for answer in answers[1::2]] == [None] * 20

        pool.release("slow/1")
        (again,) = await pool.call([uplink(slow)])
        assert "100 ms" in again.reason
    finally:
        await pool.close()


async def test_five_failures_for_memory_in_ten_minutes_stop_a_version_too() -> None:
    told: list[str] = []
    pool = CodecPool(1, overran=told.append)
    await pool.start()
    try:
        greedy = Script("greedy/1", IN_CALL.format("return {data: new Array(1e9).fill(0)}"))

        answers = await pool.call([uplink(greedy)] * 20)

        assert told == ["greedy/1"]
        assert [answer.failure for answer in answers[:5]] == ["memory"] * 5
        assert "quarantaine" in answers[-1].reason
    finally:
        await pool.close()


ROUNDS = 6
PATIENCE_S = 0.2


async def slowest_neighbour(pool: CodecPool, other: Script) -> float:
    """The longest wait for a frame of another tenant, while `other` has many to read on the same worker."""
    await pool.call([uplink(NEIGHBOUR)])
    loop = asyncio.get_running_loop()
    many = [asyncio.create_task(pool.call([uplink(other)] * 40)) for _ in range(3)]
    slowest = 0.0
    while not all(task.done() for task in many):
        asked = loop.time()
        (answer,) = await pool.call([uplink(NEIGHBOUR)])
        slowest = max(slowest, loop.time() - asked)
        assert answer.output == {"data": {"first": 1}}
        await asyncio.sleep(0.01)
    await asyncio.gather(*many)
    return slowest


@pytest.mark.parametrize(
    "source",
    [
        case[1]
        for case in CASES
        if case[0]
        in (
            "a loop",
            "a loop while loading",
            "typed arrays",
            "a long sort",
            "words without end",
            "memory while loading",
        )
    ],
)
async def test_hostile_script_delays_another_tenant_on_its_worker_by_200_ms_more_than_a_control_run_at_most(
    source: str,
) -> None:
    """The best of a few rounds: a busy machine delays either run, and what holds up a lane does so in each."""
    async with started_pool(SHORT_LOAD) as pool:
        await compare_with_control(pool, source)


async def compare_with_control(pool: CodecPool, source: str) -> None:
    control = Script("control/1", IN_CALL.format("let n = 0; while (n < 1e4) n++; return {data: n}"))
    more: list[float] = []
    for number in range(ROUNDS):
        usual = await slowest_neighbour(pool, control)
        more.append(await slowest_neighbour(pool, Script(f"hostile/{number}", source)) - usual)
        if more[-1] <= PATIENCE_S:
            return

    pytest.fail(f"more than {PATIENCE_S} s each time: {more}")


async def test_contexts_beyond_the_limit_give_way_to_newer_ones_and_come_back() -> None:
    pool = CodecPool(1, limits=Limits(contexts=3))
    await pool.start()
    try:
        counting = [
            Script(f"counter/{number}", "let n = 0;" + IN_CALL.format("return {data: ++n}")) for number in range(5)
        ]

        first = await pool.call([uplink(script) for script in counting])
        second = await pool.call([uplink(script) for script in (*counting[2:], *counting[:2])])

        assert [answer.output for answer in first] == [{"data": 1}] * 5
        assert [answer.output for answer in second] == [{"data": 2}] * 3 + [{"data": 1}] * 2
    finally:
        await pool.close()


async def test_a_context_is_made_anew_after_its_share_of_calls() -> None:
    pool = CodecPool(1, limits=Limits(context_calls=4))
    await pool.start()
    try:
        counting = Script("counter/1", "let n = 0;" + IN_CALL.format("return {data: ++n}"))

        answers = await pool.call([uplink(counting)] * 6)

        assert [answer.output for answer in answers] == [{"data": n} for n in (1, 2, 3, 4, 1, 2)]
    finally:
        await pool.close()


async def test_a_worker_that_grew_is_replaced_and_nothing_is_lost(
    pool: CodecPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decoders.javascript.pool.RESIDENT_MOST", 1)
    before = pool.pids

    answers = await pool.call([uplink(NEIGHBOUR)] * 130)

    assert [answer.output for answer in answers] == [{"data": {"first": 1}}] * 130
    assert pool.pids != before
    assert pool.restarts == 0  # Nobody died.


async def test_no_worker_at_all_is_not_a_script_s_fault(pool: CodecPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decoders.javascript.process.sys.executable", "/bin/false")
    monkeypatch.setattr("decoders.javascript.pool.RESTART_AFTER_S", (0.0, 0.0))
    os.kill(pool.pids[0], signal.SIGKILL)

    with pytest.raises(PoolUnavailable):
        await pool.call([uplink(NEIGHBOUR)])
    monkeypatch.undo()
    (answer,) = await pool.call([uplink(NEIGHBOUR)])

    assert answer.output == {"data": {"first": 1}}


async def test_a_call_that_nobody_waits_for_any_more_holds_up_nobody(pool: CodecPool) -> None:
    slow = Script("slow/1", IN_CALL.format("let n = 0; while (n < 2e5) n++; return {data: n}"))
    given_up = asyncio.create_task(pool.call([uplink(slow)] * 5_000))
    await asyncio.sleep(0.05)
    given_up.cancel()

    async with asyncio.timeout(20):
        (answer,) = await pool.call([uplink(NEIGHBOUR)])

    assert answer.output == {"data": {"first": 1}}


async def test_a_slow_script_slows_its_neighbours_down_by_a_part_of_a_batch_only(pool: CodecPool) -> None:
    """Its calls are many; theirs come in between."""
    slow = Script("slow/1", IN_CALL.format("let n = 0; while (n < 3e5) n++; return {data: n}"))
    many = asyncio.create_task(pool.call([uplink(slow)] * 200))
    await asyncio.sleep(0.05)

    (answer,) = await pool.call([uplink(NEIGHBOUR)])

    assert answer.output == {"data": {"first": 1}}
    assert not many.done()
    assert [one.failure for one in await many] == [None] * 200


async def test_an_input_that_is_no_json_is_its_caller_s_mistake_and_nobody_else_s(pool: CodecPool) -> None:
    odd = uplink(NEIGHBOUR, variables={"a": object()})

    wrong, right = await asyncio.gather(pool.call([odd]), pool.call([uplink(NEIGHBOUR)]), return_exceptions=True)

    assert isinstance(wrong, TypeError)
    assert not isinstance(right, BaseException)
    assert right[0].output == {"data": {"first": 1}}
