"""What a killed run leaves behind is gone at the start of the next; what still runs is left alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.leftovers import PREFIX, UNLOCKED_LEFT_AFTER_S, owned_folder, sweep

CHECKOUT = Path(__file__).resolve().parents[1]
OWNER = """
import sys, time
from pathlib import Path
from tests.leftovers import owned_folder
with owned_folder(Path(sys.argv[1])) as folder:
    (folder / "pg").mkdir()
    print(folder, flush=True)
    time.sleep(600)
"""


def test_the_folder_of_a_killed_process_is_swept_and_not_before(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        folder = Path(owner.stdout.readline().strip())
        while_it_lives = sweep([tmp_path])
        owner.send_signal(signal.SIGKILL)

    assert while_it_lives == []
    assert sweep([tmp_path]) == [folder]
    assert list(tmp_path.iterdir()) == []


def test_our_own_folder_is_left_alone_and_removed_at_its_end(tmp_path: Path) -> None:
    with owned_folder(tmp_path) as folder:
        assert sweep([tmp_path]) == []
        assert folder.is_dir()

    assert not folder.exists()


def test_a_folder_without_a_lock_is_swept_after_a_day(tmp_path: Path) -> None:
    (tmp_path / f"{PREFIX}new").mkdir()
    old = tmp_path / f"{PREFIX}old"
    old.mkdir()
    yesterday = time.time() - UNLOCKED_LEFT_AFTER_S - 60
    os.utime(old, (yesterday, yesterday))

    assert sweep([tmp_path]) == [old]


def test_sweep_leaves_other_folders_and_links_alone(tmp_path: Path) -> None:
    (tmp_path / "somebody-else").mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "somebody-else")

    assert sweep([tmp_path, tmp_path / "missing"]) == []
    assert (tmp_path / "somebody-else").is_dir()
