"""A process that hashes and checks passwords for `registry.passwords`, one after the other.

A line of JSON comes in, `[password, hash or null]`; a line goes out: the hash, or whether the given one is of it.
"""

import json
import os
import signal
import sys

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# OWASP, Password Storage Cheat Sheet: 19 MiB, two passes, one lane.
MEMORY_KIB, PASSES, LANES = 19_456, 2, 1
# Lower than everything else that answers people.
NICENESS = 10


def main() -> None:
    """Answer until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the service, and that our input.
    os.nice(NICENESS)
    hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
    for line in sys.stdin:
        password, hashed = json.loads(line)
        if hashed is None:
            answer = hasher.hash(password)
        else:
            try:
                answer = str(hasher.verify(hashed, password))
            except (VerificationError, InvalidHashError):
                answer = "False"
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
