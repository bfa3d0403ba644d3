"""The resolver of `dns-silent`, asked by the system's own: in a mount namespace, where one may be made."""

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lab.chaos.faults.dns import RESOLVER, answer_to, open_resolver, with_own_resolver
from lab.chaos.outcome import NotRun

# RFC 1035: id, recursion desired, one question; the name, type A, class IN.
QUESTION = bytes.fromhex("abcd 0100 0001 0000 0000 0000") + b"\x04nats\x0aterritoire\x04test\x00\x00\x01\x00\x01"
ASKS = "import socket; print(socket.getaddrinfo('nats.territoire.test', 1, type=socket.SOCK_STREAM)[0][4][0])"


def test_a_name_of_the_domain_is_the_loopback_and_another_does_not_exist() -> None:
    answer = answer_to(QUESTION)

    assert answer[:12] == bytes.fromhex("abcd 8580 0001 0001 0000 0000")
    assert answer[12:-16] == QUESTION[12:]
    assert answer[-4:] == socket.inet_aton("127.0.0.1")
    assert answer_to(QUESTION.replace(b"test", b"else"))[2:8] == bytes.fromhex("8583 0001 0000")


def test_there_is_no_address_of_another_kind() -> None:
    assert answer_to(QUESTION[:-4] + b"\x00\x1c\x00\x01")[2:8] == bytes.fromhex("8580 0001 0000")


async def test_a_program_with_a_resolver_of_its_own_finds_a_name_once_it_is_not_silent(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(f"nameserver {RESOLVER}\noptions timeout:1 attempts:1\n")
    try:
        through = with_own_resolver(file)
        async with open_resolver() as resolver:
            resolver.is_silent = True
            silent = await asyncio.create_subprocess_exec(
                *through, sys.executable, "-c", ASKS, stderr=subprocess.DEVNULL
            )
            assert await silent.wait() != 0
            resolver.is_silent = False
            found = await asyncio.create_subprocess_exec(
                *through, sys.executable, "-c", ASKS, stdout=subprocess.PIPE
            )
            said, _ = await found.communicate()
    except NotRun as refused:
        pytest.skip(str(refused))

    assert said == b"127.0.0.1\n"
    assert resolver.unanswered > 0
