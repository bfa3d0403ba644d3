"""What is granted to a running process: of one that is started here, by the kernel's own account."""

import asyncio
import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest

from lab.chaos.faults.limits import Crowd, data_octets, limit_leaving, open_descriptors

OPENS = """
import sys
files = [open("/dev/null") for _ in range(5)]
print(flush=True)
for line in sys.stdin:
    taken = []
    try:
        while len(taken) < 100:
            taken.append(open("/dev/null"))
    except OSError:
        pass
    print(len(taken), flush=True)
"""


@pytest.fixture
def opener() -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", OPENS], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def opened_by(process: subprocess.Popen[str]) -> int:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("again\n")
    process.stdin.flush()
    return int(process.stdout.readline())


@pytest.mark.parametrize(
    ("used", "room", "limit"), [(set(), 0, 0), ({0, 1, 2}, 0, 0), ({0, 1, 2, 9}, 6, 9), ({0, 2}, 2, 4)]
)
def test_a_number_that_nobody_uses_is_what_one_more_costs(used: set[int], room: int, limit: int) -> None:
    assert limit_leaving(used, room) == limit


def test_a_running_process_opens_as_many_as_are_left_and_more_once_the_limit_is_lifted(
    opener: subprocess.Popen[str],
) -> None:
    granted = resource.prlimit(opener.pid, resource.RLIMIT_NOFILE)
    limit = limit_leaving(open_descriptors(opener.pid), 7)
    resource.prlimit(opener.pid, resource.RLIMIT_NOFILE, (limit, granted[1]))
    in_want = opened_by(opener)
    resource.prlimit(opener.pid, resource.RLIMIT_NOFILE, granted)

    assert (in_want, opened_by(opener)) == (7, 100)


def test_the_memory_of_a_process_is_read_in_octets(opener: subprocess.Popen[str]) -> None:
    assert 1 << 20 < data_octets(opener.pid) < 1 << 30


async def test_a_crowd_knows_who_was_answered_and_who_was_not() -> None:
    answers = iter([b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 503 No\r\n\r\n", b""])

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(next(answers))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        crowd = Crowd()
        await crowd.come("127.0.0.1", server.sockets[0].getsockname()[1], 3)
        crowd.leave()

    assert sorted(crowd.statuses) == [0, 200, 503]
