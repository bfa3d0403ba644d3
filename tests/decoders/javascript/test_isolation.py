# ruff: noqa: E501 - A script is easier to read on its one line.
"""What a script may reach: its own context, and nothing of its neighbours', of the process, of the machine."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from decoders.javascript.pool import CodecPool, Script
from tests.decoders.javascript.conftest import NEIGHBOUR, uplink

ROOT = Path(__file__).resolve().parents[3]
POLLUTING = """
Object.prototype.toJSON = function () { return 'pollué'; };
Object.prototype.data = 'pollué';
Array.prototype.toJSON = function () { return 'pollué'; };
JSON.stringify = function () { return '"pollué"'; };
JSON.parse = function () { return {bytes: [99]}; };
Array.isArray = Object.keys = Reflect.apply = Number.isFinite = function () { return true; };
Object.prototype.readUInt8 = function () { return 7; };
String.prototype.slice = String.prototype.toWellFormed = function () { return 'pollué'; };
function decodeUplink(input) { return {data: {first: input.bytes[0], list: Uint8Array.from([1]).length}}; }
"""


async def test_a_script_that_redefines_everything_harms_only_itself(pool: CodecPool) -> None:
    polluting = Script("polluting/1", POLLUTING)

    first, neighbour, again = await pool.call([uplink(polluting), uplink(NEIGHBOUR), uplink(polluting)])

    assert neighbour.output == {"data": {"first": 1}}
    assert first == again.__class__(**{**_fields(again), "cpu_us": first.cpu_us})
    assert first.failure is None


def _fields(answer: object) -> dict[str, object]:
    return {name: getattr(answer, name) for name in answer.__struct_fields__}  # type: ignore[attr-defined]


async def test_json_of_the_script_is_not_the_harness_s(pool: CodecPool) -> None:
    redefining = Script(
        "json/1",
        "JSON.stringify = () => '\"faux\"'; JSON.parse = () => ({}); Object.keys = () => [];"
        "function decodeUplink(input) { return {data: {octets: input.bytes}}; }",
    )

    (answer,) = await pool.call([uplink(redefining, b"\x05\x06")])

    assert answer.output == {"data": {"octets": [5, 6]}}


async def test_state_stays_within_a_tenant_s_version(pool: CodecPool) -> None:
    """Two tenants with the same source do not meet."""
    source = "globalThis.seen = []; function decodeUplink(i) { seen.push(i.devEui); return {data: {seen}}; }"
    one, other = Script("tenant 1/7", source), Script("tenant 2/7", source)

    answers = await pool.call([uplink(one, dev_eui="a"), uplink(other, dev_eui="b"), uplink(one, dev_eui="c")])

    assert [answer.output for answer in answers] == [
        {"data": {"seen": ["a"]}},
        {"data": {"seen": ["b"]}},
        {"data": {"seen": ["a", "c"]}},
    ]


async def test_nothing_of_the_machine_is_in_reach(pool: CodecPool) -> None:
    names = ("process", "os", "std", "performance", "SharedArrayBuffer", "Atomics", "fetch", "setTimeout", "print",
             "loadScript", "bjson", "navigator", "XMLHttpRequest", "WebAssembly")  # fmt: skip
    listing = Script(
        "reach/1",
        f"function decodeUplink() {{ return {{data: {list(names)}.filter((n) => typeof globalThis[n] !== 'undefined')}} }}",
    )

    (answer,) = await pool.call([uplink(listing)])

    assert answer.output == {"data": []}


@pytest.mark.parametrize("name", ["fs", "child_process", "net", "http", "worker_threads", "quickjs:os", "./x"])
async def test_other_modules_do_not_exist(decode, name: str) -> None:
    answer = await decode(f"const m = require('{name}'); function decodeUplink() {{ return {{data: 1}} }}")

    assert answer.failure == "script"
    assert "ce module n'existe pas ici" in answer.reason


async def test_import_gives_nothing(decode) -> None:
    answer = await decode("function decodeUplink() { return import('os') }")

    assert answer.failure == "script"
    assert "une promesse" in answer.reason


async def test_a_worker_is_shut_in(pool: CodecPool) -> None:
    """As the kernel sees it: no environment, no streams, few descriptors, bounded memory, no privileges."""
    (pid,) = pool.pids
    process = Path(f"/proc/{pid}")
    environment = {entry.partition(b"=")[0] for entry in (process / "environ").read_bytes().split(b"\0") if entry}
    descriptors = {int(entry.name): str(entry.readlink()) for entry in (process / "fd").iterdir()}
    limits = {line[:25].strip(): line.split()[-3:-1] for line in (process / "limits").read_text().splitlines()}
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)

    assert (process / "oom_score_adj").read_text().strip() == "1000"
    assert environment <= {b"PYTHONPATH", b"TZ", b"LC_ALL", b"PYTHONDONTWRITEBYTECODE"}
    assert {descriptors[stream] for stream in range(3)} == {"/dev/null"}
    assert len(descriptors) <= 6
    assert limits["Max address space"][0] == str(1 << 30)
    assert limits["Max open files"][0] == "16"
    assert limits["Max core file size"][0] == "0"
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"
    assert status["CapEff"].strip() == "0" * 16


SHUT_IN = """
import os, socket, sys
from decoders.javascript import sandbox
sandbox.bound(os.getppid())
out = os.dup(1)
sandbox.lock(os.getppid())
tries = {
    "open": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "socket": lambda: socket.socket(socket.AF_INET),
    "unix": lambda: socket.socket(socket.AF_UNIX),
    "fork": os.fork,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "kill": lambda: os.kill(os.getppid(), 0),
}
for name, attempt in tries.items():
    try:
        attempt()
    except OSError as refused:
        os.write(out, f"{name} {refused.errno}\\n".encode())
    else:
        os.write(out, f"{name} allowed\\n".encode())
"""


def test_a_worker_s_code_may_not_open_connect_fork_or_signal() -> None:
    """What an engine that was broken into could do."""
    done = subprocess.run(
        [sys.executable, "-c", SHUT_IN], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )

    assert [line for line in done.stdout.splitlines() if " allowed" in line] == [], done
    assert {line.split()[0] for line in done.stdout.splitlines() if line.endswith(" 1")} == {
        "open", "socket", "unix", "fork", "exec", "kill",
    }  # fmt: skip


ORPHAN = """
import asyncio, os
from decoders.javascript.pool import CodecPool
async def main():
    pool = CodecPool(1)
    await pool.start()
    print(pool.pids[0], flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


def test_workers_die_with_their_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", ORPHAN], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = 0
        while not worker:
            line = parent.stdout.readline()
            worker = int(line) if line.strip().isdecimal() else 0
        handle = os.pidfd_open(worker)

        parent.kill()

        readable, _, _ = select.select([handle], [], [], 30)
        os.close(handle)
        assert readable, "the worker outlived its parent"
