"""Who attacks the API, a program of its own: `python -m lab.chaos.faults.attackers slow|keys API_URL AMOUNT`.

It attacks until its standard input ends, which the end of who started it does, too; then it prints how often each
answer came as JSON. It is as nice as can be: the processors of those who attack are elsewhere.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import cycle
from urllib.parse import urlsplit

# At other addresses of the loopback than everybody else.
ADDRESSES = tuple(f"127.0.1.{number}" for number in range(1, 201))
SLOW_EVERY_S, CONNECTIONS = 1.0, 50
THROWN_OUT = "thrown_out"
NICENESS = 19


async def be_slow(host: str, port: int, source: str, answers: Counter[str]) -> None:
    """Send an octet of a request's head each second, again and again."""
    while True:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(host, port, local_addr=(source, 0))
            try:
                for octet in b"GET /v1/devices HTTP/1.1\r\nHost: " + b"a" * 1_000:
                    writer.write(bytes([octet]))
                    await writer.drain()
                    await asyncio.sleep(SLOW_EVERY_S)
            finally:
                writer.transport.abort()
        answers[THROWN_OUT] += 1
        await asyncio.sleep(SLOW_EVERY_S)


async def guess(
    host: str, port: int, addresses: Sequence[str], seed: int, per_s: float, answers: Counter[str]
) -> None:
    """Ask with so many wrong keys a second, for a second from each address in turn."""
    source = random.Random(seed)
    for address in cycle(addresses):
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection(host, port, local_addr=(address, 0))
            try:
                for _ in range(round(per_s) + 1):
                    due = time.monotonic() + 1 / per_s
                    key = f"terr_{source.randbytes(6).hex()}_{source.randbytes(21).hex()}x"
                    writer.write(
                        f"GET /v1/devices HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
                    )
                    answers[await _status(reader)] += 1
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
            finally:
                writer.transport.abort()


async def _status(reader: asyncio.StreamReader) -> str:
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    await reader.readexactly(int(lengths[0].partition(b":")[2]) if lengths else 0)
    return head.split(b" ")[1].decode("ascii")


async def attack(kind: str, api_url: str, amount: int) -> Counter[str]:
    """Attack until the standard input ends; how often each answer came."""
    where, answers = urlsplit(api_url), Counter[str]()
    host, port = where.hostname or "", where.port or 0
    if kind == "slow":
        attacks = [be_slow(host, port, ADDRESSES[at % len(ADDRESSES)], answers) for at in range(amount)]
    else:
        attacks = [
            guess(host, port, ADDRESSES[at::CONNECTIONS], at, amount / CONNECTIONS, answers)
            for at in range(CONNECTIONS)
        ]
    tasks = [asyncio.create_task(one, name=kind) for one in attacks]
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return answers


if __name__ == "__main__":
    os.nice(NICENESS)
    print(json.dumps(asyncio.run(attack(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
