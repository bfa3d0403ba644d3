import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

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
