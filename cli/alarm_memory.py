"""What `territoire alarm` remembers from one run to the next, whatever becomes of the disk and of the run."""

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from cli.alarm_news import Event, Notified, Trouble, Watched, happened
from cli.finding_kinds import Kind, hidden_by
from cli.findings import Finding, Severity, critical
from core.runtime.errors import system_reason

STATE = "alarm.json"
ASKED_AGAIN_S = 0.1
Entry = TypeVar("Entry", Trouble, Notified)


class Recipient(msgspec.Struct, frozen=True):
    """What one has been notified of. `failures` in a row, the last at `tried_at`, of the news of these keys."""

    notified: dict[str, Notified] = {}
    failures: int = 0
    tried_at: datetime | None = None
    tried: list[str] = []
    reason: str = ""


class KnownBefore(msgspec.Struct, frozen=True):
    """A subject that was bad, as releases of before wrote it."""

    finding: Finding
    notified_at: datetime | None = None


class Remembered(msgspec.Struct, frozen=True):
    """`turn` counts the writings: of two copies the higher is the newer. `known`, `sudden`: releases of before."""

    turn: int = 0
    watched: Watched = Watched()
    events: dict[str, Event] = {}
    recipients: dict[str, Recipient] = {}
    known: dict[str, KnownBefore] = {}
    sudden: dict[str, KnownBefore] = {}


def taken_over(found: Remembered, keys: Iterable[str], findings: Sequence[Finding], now: datetime) -> Remembered:
    """With what a release of before wrote: its ends that nobody was notified of, and what is good since.

    It knew subjects alone; what is still bad of one is notified again, by its kind.
    """
    left = [
        critical(Kind.UNIT_FAILED, one.finding.what, one.finding.remedy, [unit])
        for unit, one in found.sudden.items()
        if one.notified_at is None
    ]
    bad = {finding.subject for finding in findings if finding.severity is not Severity.GOOD}
    hidden = {subject.french for subject in hidden_by(finding.kind for finding in findings)}
    known = {
        subject: one
        for subject, one in found.known.items()
        if one.notified_at is not None and not _is_of(subject, bad)
    }
    # What was not looked at is not good.
    kept = {subject: one for subject, one in known.items() if _is_of(subject, hidden)}
    good = {
        f"before/{subject}": Notified(one.finding, one.finding.severity, now)
        for subject, one in known.items()
        if subject not in kept
    }
    recipients = dict(found.recipients)
    for key in keys if good else ():
        of_one = recipients.get(key, Recipient())
        recipients[key] = replace(of_one, notified=of_one.notified | good)
    events = happened(found.events, left, now)
    return replace(found, events=events, recipients=recipients, known=kept, sudden={})


def identified(found: Remembered, findings: Iterable[Finding]) -> Remembered:
    """With what was remembered under a name, as releases of before did, under what identifies the same one now.

    Of two of one name the second was told to nobody: it stays to be told.
    """
    moved: dict[str, tuple[str, Finding]] = {}
    for finding in findings:
        for key, one in zip(finding.keys, finding.each(), strict=True):
            for name, identity in zip(one.names, one.ids, strict=False):
                former = f"{one.kind}/{name.removesuffix(f' ({identity})')}"
                moved.setdefault(former, (key, one))
    return replace(
        found,
        watched=replace(found.watched, troubles=_moved(found.watched.troubles, moved)),
        recipients={
            whom: replace(one, notified=_moved(one.notified, moved)) for whom, one in found.recipients.items()
        },
    )


def _moved(remembered: Mapping[str, Entry], moved: Mapping[str, tuple[str, Finding]]) -> dict[str, Entry]:
    after: dict[str, Entry] = {}
    for key, one in remembered.items():
        is_by_name = key in moved and not one.finding.ids
        new_key, finding = moved[key] if is_by_name else (key, one.finding)
        after[new_key] = replace(one, finding=finding) if is_by_name else one
    return after


def _is_of(subject: str, ours: Iterable[str]) -> bool:
    """Whether a subject of before (« processus network, ingest ») is one of these."""
    return any(subject == one or subject.startswith(f"{one} ") for one in ours)


class Memory:
    """The home's file, or one in memory that systemd keeps while the home's disk takes nothing."""

    def __init__(self, folder: Path) -> None:
        in_memory = os.environ.get("RUNTIME_DIRECTORY")
        self._places = [folder, *([Path(in_memory.partition(":")[0])] if in_memory else [])]
        self.is_lost = False
        """Whether nothing was written."""
        self.state = Remembered()
        self.read()

    def read(self) -> None:
        """The newest that there is."""
        self.state = max((_read(place) for place in self._places), key=lambda found: found.turn)

    def save(self, state: Remembered) -> None:
        """Keep it, where that is possible, with what a run has kept that would not wait for this one."""
        beside = max((_read(place) for place in self._places), key=lambda found: found.turn)
        if beside.turn > state.turn:
            state = _merged(state, beside)
        self.state = replace(state, turn=state.turn + 1)
        octets = msgspec.json.encode(self.state)
        refusals: list[str] = []
        for number, place in enumerate(self._places):
            try:
                _write(place, octets)
            except OSError as refused:
                refusals.append(f"territoire : {place / STATE} ne s'écrit pas : {system_reason(refused)}\n")
            else:
                self.is_lost = False
                for older in self._places[number + 1 :]:
                    with contextlib.suppress(OSError):
                        (older / STATE).unlink(missing_ok=True)
                return
        if not self.is_lost:
            sys.stderr.writelines(refusals)
        self.is_lost = True

    @property
    def place(self) -> Path:
        """Where it ought to be."""
        return self._places[0] / STATE

    @contextmanager
    def alone(self, within_s: float) -> Generator[None]:
        """While no other run decides and sends; after `within_s` all the same: twice is better than never."""
        with _folder(self._places) as held:
            if held is not None:
                _lock(held, within_s)
            self.read()
            yield


@contextmanager
def _folder(places: list[Path]) -> Generator[int | None]:
    """The first that can be opened: a lock on a folder needs no file, and so no room on its disk."""
    for place in places:
        try:
            held = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            yield held
        finally:
            os.close(held)
        return
    yield None


def _lock(held: int, within_s: float) -> None:
    until = time.monotonic() + within_s
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return
            time.sleep(ASKED_AGAIN_S)
        except OSError:  # A file system without locks.
            return
        else:
            return


def _merged(ours: Remembered, beside: Remembered) -> Remembered:
    """With the ends that the other knows besides, and whom it has notified of them."""
    events = ours.events | {
        key: event
        for key, event in beside.events.items()
        if key not in ours.events or ours.events[key].times < event.times
    }
    recipients = {
        key: replace(
            one,
            notified=one.notified
            | {
                about: notified
                for about, notified in beside.recipients[key].notified.items()
                if about in beside.events
            },
        )
        if key in beside.recipients
        else one
        for key, one in ours.recipients.items()
    }
    return replace(ours, turn=beside.turn, events=events, recipients=recipients)


def _read(folder: Path) -> Remembered:
    try:
        found = msgspec.json.decode((folder / STATE).read_bytes(), type=Remembered)
    except (FileNotFoundError, NotADirectoryError):
        return Remembered()
    except (msgspec.DecodeError, OSError) as unreadable:
        sys.stderr.write(f"territoire : {folder / STATE} est illisible, tout est redit : {unreadable}\n")
        return Remembered()
    return found


def _write(folder: Path, octets: bytes) -> None:
    draft = folder / f"{STATE}.part"
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
            if os.geteuid() == 0:  # Who tries the command by hand leaves a file that the timer reads.
                there = folder.stat()
                with contextlib.suppress(PermissionError):  # A root of a container, that may not.
                    os.fchown(file.fileno(), there.st_uid, there.st_gid)
        draft.replace(folder / STATE)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)  # What a full disk took of it helps nobody.
        raise
