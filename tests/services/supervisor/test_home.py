import os
import shutil
import signal
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest

from services.supervisor.credentials import KEK, RENEWABLE, Secrets
from services.supervisor.home import Home, UnusableHome, default_home


@pytest.fixture
def home(server_folder: Path, request: pytest.FixtureRequest) -> Iterator[Home]:
    held = Home(server_folder / request.node.name)
    with held.held():
        yield held


def test_a_second_supervisor_is_kept_out(home: Home) -> None:
    with pytest.raises(UnusableHome, match="déjà utilisé"), Home(home.folder).held():
        pass


def test_secrets_are_made_once_for_their_owner_alone(home: Home) -> None:
    made = home.secrets()

    file = home.folder / "secrets.json"
    assert home.secrets() == made
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_every_new_home_knows_since_when_its_credentials_are(home: Home) -> None:
    before = datetime.now(UTC)

    since = home.secrets().since

    assert since.keys() == {*RENEWABLE, KEK}
    assert all(before <= at <= datetime.now(UTC) for at in since.values())
    assert home.read_secrets().since == since


def values_of(kept: Secrets) -> dict[str, Any]:
    """Each value by where it stands."""
    flat = msgspec.to_builtins(kept)
    return {
        f"{field}.{account}": value
        for field, held in flat.items()
        for account, value in (held if isinstance(held, dict) else {"": held}).items()
    }


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("database-owner", "postgres."),
        ("database-gateway-bridge", "database.gateway_bridge"),
        ("bus-owner", "nats."),
        ("bus-api", "bus.api"),
        ("mqtt-accounts", "mqtt.accounts"),
    ],
)
def test_what_is_renewed_is_that_and_nothing_else(home: Home, name: str, place: str) -> None:
    former, now = home.secrets(), datetime(2030, 1, 2, 3, 4, 5, 6, tzinfo=UTC)

    changed = home.change_secrets(lambda kept: kept.renewed([name], now))

    before, after = values_of(former), values_of(changed)
    assert {at for at in after if after[at] != before[at]} == {place, f"since.{name}"}
    assert changed.since[name] == now
    assert len(bytes.fromhex(after[place])) == 24
    assert home.secrets() == home.read_secrets() == changed


def test_all_that_is_renewable_is_all_but_the_keys_and_the_first_login(home: Home) -> None:
    former = home.secrets()

    changed = home.change_secrets(lambda kept: kept.renewed(RENEWABLE, datetime(2030, 1, 1, tzinfo=UTC)))

    before, after = values_of(former), values_of(changed)
    same = {at for at in after if after[at] == before[at]}
    assert same == {"kek.", "operator_key.", "operator_password.", f"since.{KEK}"}


def dies_at_step(step: int, change: Callable[[], object]) -> None:
    """Carry out a change of files, and be killed before its step of this number."""
    count = iter(range(1, step + 1))

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*arguments: Any, **named: Any) -> Any:
            if next(count, step) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **named)

        return instead

    for owner, names in ((os, ("open", "fdopen", "fchown", "fsync", "close")), (Path, ("unlink", "replace"))):
        for name in names:
            setattr(owner, name, counted(name, getattr(owner, name)))
    change()
    os._exit(0)


def test_a_change_that_is_killed_at_any_step_leaves_all_of_it_or_nothing(home: Home) -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    steps, seen = 0, set[bool]()
    while True:
        steps += 1
        former = home.secrets()
        work = get_context("fork").Process(
            target=dies_at_step,
            args=(steps, lambda: home.change_secrets(lambda kept: kept.renewed(RENEWABLE, now))),
        )
        work.start()
        work.join()

        found = home.read_secrets()
        assert stat.S_IMODE(home.secrets_file.stat().st_mode) == 0o600
        before, after = values_of(former), values_of(found)
        changed = {at for at in after if after[at] != before.get(at) and not at.startswith("since.")}
        assert len(changed) in {0, len(RENEWABLE)}
        assert (found.kek, found.operator_key) == (former.kek, former.operator_key)
        seen.add(bool(changed))
        if work.exitcode == 0:
            break
        assert work.exitcode == -signal.SIGKILL
    assert steps > 6
    assert seen == {False, True}


def test_changes_at_the_same_time_lose_none_of_each_other(home: Home) -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    home.secrets()

    def change(what: Callable[[Secrets], Secrets]) -> None:
        for _ in range(20):
            home.change_secrets(what)

    threads = [
        Thread(target=change, args=(what,))
        for what in (lambda kept: kept.with_new_kek(now), lambda kept: kept.renewed(RENEWABLE, now))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert home.secrets().kek_id == "kek-21"
    assert len(home.secrets().former_keks) == 20


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
def test_what_root_changes_is_still_of_the_account_of_the_home(server_folder: Path) -> None:
    folder = server_folder / "of-another"
    folder.mkdir(mode=0o711)
    shutil.chown(folder, "nobody", "nogroup")
    home = Home(folder)

    home.secrets()
    home.change_secrets(lambda kept: kept.with_new_kek(datetime(2030, 1, 1, tzinfo=UTC)))

    assert (home.secrets_file.owner(), home.secrets_file.group()) == ("nobody", "nogroup")
    assert stat.S_IMODE(home.secrets_file.stat().st_mode) == 0o600


def test_a_folder_that_others_may_write_to_is_rejected(server_folder: Path) -> None:
    folder = server_folder / "shared"
    folder.mkdir()
    folder.chmod(0o777)

    with pytest.raises(UnusableHome, match="modifiable"), Home(folder).held():
        pass


def test_a_link_in_place_of_the_folder_is_rejected(server_folder: Path) -> None:
    (server_folder / "elsewhere").mkdir()
    (server_folder / "link").symlink_to(server_folder / "elsewhere")

    with pytest.raises(UnusableHome), Home(server_folder / "link").held():
        pass


def test_a_demo_empties_only_what_a_demo_made(home: Home) -> None:
    (home.folder / "archives").mkdir()

    with pytest.raises(UnusableHome, match="démonstration"):
        home.empty_for_demo()

    assert (home.folder / "archives").exists()


def test_a_second_demo_starts_from_nothing(home: Home) -> None:
    home.empty_for_demo()
    former = home.secrets()
    home.log("api").write_text("yesterday")

    home.empty_for_demo()

    assert home.secrets() != former
    assert list(home.logs.iterdir()) == []


def test_a_large_log_is_set_aside(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.supervisor.home.LOG_SIZE_KEPT", 3)
    home.log("api").write_text("yesterday")

    assert not home.log("api").exists()
    assert (home.logs / "api.log.1").read_text() == "yesterday"


def test_the_home_may_be_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TERRITOIRE_HOME", str(tmp_path))

    assert default_home(Path("/anywhere")) == tmp_path
