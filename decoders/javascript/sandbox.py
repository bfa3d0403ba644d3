"""Sandboxes a worker process before it runs a vendor's code: limits, namespaces, seccomp.

Every step is tried, and the log lists what was reached; only the limits and the parent-death signal are required.
"""

import ctypes
import errno
import os
import platform
import resource
import signal
from contextlib import suppress
from struct import pack

ADDRESS_SPACE = 1024 * 1024 * 1024
OPEN_FILES = 16
NOBODY = 65_534
CAPABILITIES_HEADER = pack("=II", 0x2008_0522, 0)  # linux/capability.h, version 3; 0: this process.

# linux/prctl.h, linux/sched.h, linux/seccomp.h, linux/bpf_common.h
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
CLONE_NEWUSER, CLONE_NEWNET = 0x1000_0000, 0x4000_0000
SET_MODE_FILTER, FILTER_FLAG_TSYNC = 1, 1
RET_ALLOW, RET_KILL_PROCESS, RET_ERRNO = 0x7FFF_0000, 0x8000_0000, 0x0005_0000
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER_AT, ARCHITECTURE_AT = 0, 4

# What is left to a worker: its memory, its open descriptors, its clock, and to end; not to open, connect, fork or
# signal. By machine its audit number, the number of seccomp itself, then in this order:
# read write close fstat lseek pread64 mmap mprotect munmap brk mremap madvise
# rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack futex sched_yield
# getpid gettid getrusage times gettimeofday clock_gettime getrandom restart_syscall
# set_robust_list rseq membarrier exit exit_group
ALLOWED = {
    "x86_64": (
        0xC000_003E,
        317,
        (0, 1, 3, 5, 8, 17, 9, 10, 11, 12, 25, 28, 13, 14, 15, 131, 202, 24,
         39, 186, 98, 100, 96, 228, 318, 219, 273, 334, 324, 60, 231),
    ),
    "aarch64": (
        0xC000_00B7,
        277,
        (63, 64, 57, 80, 62, 67, 222, 226, 215, 214, 216, 233, 134, 135, 139, 132, 98, 124,
         172, 178, 165, 153, 169, 113, 278, 128, 99, 293, 283, 93, 94),
    ),
}  # fmt: skip

_libc = ctypes.CDLL(None, use_errno=True)


def bound(parent: int) -> list[str]:
    """Die with the parent, bound memory and files, leave the network; before anything else is imported."""
    _die_with(parent)
    for limit, most in ((resource.RLIMIT_AS, ADDRESS_SPACE), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(limit, (most, most))
    # Where memory runs out, the kernel takes a worker before its parent.
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:  # noqa: PTH123
        score.write("1000")
    # Root may leave its network; others need a user namespace of their own for that, where the system allows it.
    alone = any(_libc.unshare(flags) == 0 for flags in (CLONE_NEWNET, CLONE_NEWUSER | CLONE_NEWNET))
    return ["limits", *(["no_network"] if alone else [])]


def lock(parent: int) -> list[str]:
    """No standard streams, no privileges, no system call that opens, connects, forks or signals."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    os.close(nothing)
    for limit, most in ((resource.RLIMIT_NOFILE, OPEN_FILES), (resource.RLIMIT_FSIZE, 0)):
        resource.setrlimit(limit, (most, most))
    reached = ["nobody"] if _become_nobody() else []
    # A user namespace of one's own comes with every capability in it.
    if _libc.capset(CAPABILITIES_HEADER, bytes(24)) == 0:
        reached.append("no_capabilities")
    _die_with(parent)  # A change of user forgets it.
    if _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 and _filter():
        reached.append("seccomp")
    return reached


def _die_with(parent: int) -> None:
    if _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != parent:
        os._exit(1)


def _become_nobody() -> bool:
    if os.geteuid() != 0:
        return False
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError:  # A user namespace without this user.
        return False
    return True


def _filter() -> bool:
    """Everything else answers EPERM. False on a machine or kernel without it."""
    known = ALLOWED.get(platform.machine())
    if known is None:
        return False
    architecture, seccomp, numbers = known
    program = [
        _instruction(LOAD_WORD, ARCHITECTURE_AT),
        _instruction(JUMP_IF_EQUAL, architecture, otherwise=len(numbers) + 3),
        _instruction(LOAD_WORD, NUMBER_AT),
        *(_instruction(JUMP_IF_EQUAL, number, then=len(numbers) - place) for place, number in enumerate(numbers)),
        _instruction(RETURN, RET_ERRNO | errno.EPERM),
        _instruction(RETURN, RET_ALLOW),
        _instruction(RETURN, RET_KILL_PROCESS),
    ]
    octets = ctypes.create_string_buffer(b"".join(program))
    header = ctypes.create_string_buffer(pack("@HP", len(program), ctypes.addressof(octets)))
    return _libc.syscall(seccomp, SET_MODE_FILTER, FILTER_FLAG_TSYNC, header) == 0


def _instruction(code: int, operand: int, then: int = 0, otherwise: int = 0) -> bytes:
    """One `sock_filter` (linux/filter.h)."""
    return pack("=HBBI", code, then, otherwise, operand)
