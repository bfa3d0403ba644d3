"""Passwords are hashed in processes of a low priority, which are started again when they die."""

import os
from pathlib import Path

from argon2 import PasswordHasher

from registry.passwords import Passwords


def hashing_processes() -> list[int]:
    """Our children that hash, by their process number."""
    children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    numbers = {int(number) for listed in children for number in listed.read_text().split()}
    return [
        number
        for number in numbers
        if b"registry.password_hashing" in Path(f"/proc/{number}/cmdline").read_bytes()
    ]


def kill(number: int) -> None:
    """End a child; that it has ended is left for its parent to learn."""
    os.kill(number, 9)
    os.waitid(os.P_PID, number, os.WEXITED | os.WNOWAIT)


async def test_a_password_is_checked_by_a_process_of_low_priority_and_by_another_one_when_that_has_died() -> None:
    passwords = Passwords()
    hashed = await passwords.hash_of("trois chats gris dorment")
    before = hashing_processes()
    niceness = {os.getpriority(os.PRIO_PROCESS, number) for number in before}
    for number in before:
        kill(number)
    right = await passwords.matches(hashed, "trois chats gris dorment")
    wrong = await passwords.matches(hashed, "deux chats gris dorment")
    nobody = await passwords.matches(None, "trois chats gris dorment")
    unreadable = await passwords.matches("x", "trois chats gris dorment")

    assert niceness == {min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)}
    assert PasswordHasher().verify(hashed, "trois chats gris dorment")
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")  # OWASP's parameters.
    assert (right, wrong, nobody, unreadable) == (True, False, False, False)
