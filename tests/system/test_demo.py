"""The main job itself: the pilot fleet on the air, and an account that balances."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from services.supervisor.stack import checkout

pytestmark = pytest.mark.timeout(240)


def test_the_demonstration_balances_its_account(stack_folder: Path, tmp_path: Path) -> None:
    demo = subprocess.run(
        [
            sys.executable,
            "-m",
            "services.cli",
            "demo",
            "--home",
            str(stack_folder),
            "--exit-after",
            "80",
            "--pace",
            "2",
        ],
        cwd=tmp_path,
        env={"PYTHONPATH": str(checkout()), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert demo.returncode == 0, demo.stdout[-4_000:] + demo.stderr[-2_000:]
    report = json.loads((tmp_path / "demo-report.json").read_text("utf-8"))
    assert report["succeeded"]
    assert report["uplinks"]["heard"] == report["uplinks"]["stored"] > 0
