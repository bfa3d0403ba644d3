"""A secret that changes reaches the pods that use it: by Reloader, or by the lines of the page."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.k8s.conftest import CHECKOUT, render

RELOADER = "secret.reloader.stakater.com"
# Answers as a cluster whose External Secrets needs a moment: two are read again one after the other.
KUBECTL = """#!/bin/sh
echo "$*" >>"$LOG"
case "$*" in
*refreshTime*)
    asked=$(grep -c refreshTime "$LOG")
    a=2026-11-29T10:00:00Z b=2026-11-29T10:00:07Z
    [ "$asked" -lt 3 ] || a=2026-11-29T11:00:00Z
    [ "$asked" -lt 5 ] || b=2026-11-29T11:00:02Z
    printf '%s %s' "$a" "$b"
    ;;
esac
"""


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_a_secret_that_changes_asks_for_other_pods_and_a_certificate_does_not(overlay: str) -> None:
    rendered = render(overlay)
    asked = {
        workload["metadata"]["name"]: workload["metadata"].get("annotations", {})
        for workload in rendered.of("Deployment", "StatefulSet")
    }

    assert asked.pop("nats") == {f"{RELOADER}/reload": "territoire-bus"}
    assert asked.pop("mosquitto") == {}  # It reads its accounts and its certificate again.
    assert set(asked) == {one["metadata"]["name"] for one in rendered.ours if one["kind"] == "Deployment"}
    assert all(annotations == {f"{RELOADER}/auto": "true"} for annotations in asked.values())
    # What is mounted would replace pods, too.
    for workload in rendered.of("Deployment"):
        volumes = workload["spec"]["template"]["spec"]["volumes"]
        mounted = {volume["secret"]["secretName"] for volume in volumes if "secret" in volume}
        assert mounted <= {"territoire-authority"}


def test_the_page_replaces_pods_once_every_secret_was_read_again(tmp_path: Path) -> None:
    page = (CHECKOUT / "docs" / "kubernetes.md").read_text("utf-8")
    [block] = [
        one for one in re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL) if "force-sync" in one
    ]
    for name, text in (("kubectl", KUBECTL), ("sleep", "#!/bin/sh\n")):
        (tmp_path / name).write_text(text, "utf-8")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LOG": str(tmp_path / "log")}

    typed = subprocess.run(["bash", "-ec", block], env=environment, capture_output=True, text=True, check=False)

    assert typed.returncode == 0, typed.stderr
    lines = (tmp_path / "log").read_text("utf-8").splitlines()
    asked = [place for place, line in enumerate(lines) if "refreshTime" in line]
    [synced] = [place for place, line in enumerate(lines) if "force-sync" in line]
    [restarted] = [place for place, line in enumerate(lines) if "rollout restart" in line]
    assert asked[0] < synced < asked[-1] < restarted
    assert len(asked) >= 5
