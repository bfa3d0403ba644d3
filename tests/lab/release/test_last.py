"""The release that deploy/releases.toml names can be played, or it is said why not; it is never passed over."""

import subprocess
from pathlib import Path

import pytest

from lab.release.last import FILE, Release, UnusableRelease, entry_problems, last_release
from tests.rooms import CHECKOUT


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.fr")
    done = subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path, version: str) -> str:
    (folder / "pyproject.toml").write_text(f'[project]\nname = "own"\nversion = "{version}"\n', "utf-8")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", f"own: Release {version}", "--allow-empty")
    return git(folder, "rev-parse", "HEAD")


def named(folder: Path, text: str) -> Path:
    (folder / FILE).parent.mkdir(exist_ok=True)
    (folder / FILE).write_text(text, "utf-8")
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    return folder


def test_an_ancestor_of_the_version_that_is_named_is_the_last_release(repository: Path) -> None:
    released = commit(repository, "1.0.0")
    commit(repository, "1.1.0")
    release = Release("1.0.0", released)

    named(repository, f"# Of then.\n{release.entry}")

    assert last_release(repository) == release


def test_none_is_named_until_there_is_one(repository: Path) -> None:
    assert last_release(named(repository, "# [last]\n")) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("last = ", "n'est pas du TOML"),
        ('[last]\nversion = "1.0.0"\n', "attendu \\[last\\] avec version et commit"),
        ('[last]\nversion = "1.0.0"\ncommit = "{commit}"\ntag = "v1"\n', "et rien d'autre"),
        ('[next]\nversion = "1.0.0"\ncommit = "{commit}"\n', "attendu \\[last\\]"),
        ('[last]\nversion = "v1"\ncommit = "{commit}"\n', "n'est pas de la forme 1.2.3"),
        ('[last]\nversion = "1.0.0"\ncommit = "main"\n', "n'est pas une empreinte entière"),
        ('[last]\nversion = "1.0.1"\ncommit = "{commit}"\n', "est celui de la version 1.0.0, pas 1.0.1"),
    ],
)
def test_what_names_no_release_is_an_error(repository: Path, text: str, says: str) -> None:
    released = commit(repository, "1.0.0")
    named(repository, text.replace("{commit}", released))

    with pytest.raises(UnusableRelease, match=says):
        last_release(repository)


def test_a_missing_file_is_an_error(repository: Path) -> None:
    with pytest.raises(UnusableRelease, match="manque"):
        last_release(repository)


def test_a_commit_that_is_no_ancestor_is_an_error(repository: Path) -> None:
    commit(repository, "1.0.0")
    git(repository, "checkout", "-qb", "aside")
    beside = commit(repository, "1.0.1")
    git(repository, "checkout", "-q", "main")

    with pytest.raises(UnusableRelease, match="n'est pas un ancêtre de HEAD"):
        last_release(named(repository, Release("1.0.1", beside).entry))


def test_a_commit_that_is_not_there_is_an_error_which_says_whether_the_clone_is_shallow(
    repository: Path, tmp_path: Path
) -> None:
    released = commit(repository, "1.0.0")
    commit(repository, "1.1.0")
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{repository}", str(shallow))

    with pytest.raises(UnusableRelease, match="cette copie partielle : git fetch --unshallow"):
        last_release(named(shallow, Release("1.0.0", released).entry))
    with pytest.raises(UnusableRelease, match="n'est pas dans ce dépôt"):
        last_release(named(repository, Release("1.0.0", "0" * 40).entry))


CHANGELOG = "# Changelog\n\n## Unreleased\n\n## 1.1.0 (2027-01-01)\n\n- B\n\n## 1.0.0 (2026-12-01)\n\n- A\n"


def test_a_version_is_published_once_the_one_before_is_named(repository: Path) -> None:
    released = commit(repository, "1.0.0")
    unnamed = entry_problems(named(repository, ""), "1.1.0", CHANGELOG)
    named(repository, Release("1.0.0", released).entry)

    assert unnamed == ["CHANGELOG.md dit que la version d'avant est 1.0.0, deploy/releases.toml : aucune"]
    assert entry_problems(repository, "1.1.0", CHANGELOG) == []
    assert entry_problems(repository, "1.0.0", CHANGELOG) == [
        "deploy/releases.toml dit que la 1.0.0 est déjà publiée : il en faut une autre"
    ]


def test_the_first_version_has_none_before_it(repository: Path) -> None:
    assert entry_problems(named(repository, ""), "0.1.0", "## 0.1.0 (2026-12-01)\n") == []


def test_nothing_is_published_beside_an_entry_that_cannot_be_played(repository: Path) -> None:
    assert entry_problems(named(repository, "last = 1"), "1.1.0", CHANGELOG) == [
        "deploy/releases.toml : attendu [last] avec version et commit, et rien d'autre"
    ]


def test_ours_can_be_played() -> None:
    release = last_release(CHECKOUT)

    assert release is None or len(release.commit) == 40
