"""Servers as their pods configure them, on this machine."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from services.supervisor.launch import Launch
from services.supervisor.mosquitto import PLUGIN, plugin
from tests.k8s.conftest import CHECKOUT

COMPONENTS = CHECKOUT / "k8s" / "components"
PATIENCE_S = 20


def here(text: str, folder: Path, port: int, monitor: int = -1) -> str:
    """The text of a pod's, for one folder of this machine and a port of its own."""
    replaced = {
        "/tmp/": f"{folder}/",  # First: the others name this folder.
        "../users": os.path.relpath(COMPONENTS / "nats-users", folder),
        "/etc/nats/tls": str(folder), "/etc/mosquitto/tls": str(folder), "/etc/mosquitto/accounts": str(folder),
        "/etc/mosquitto/conf": str(COMPONENTS / "mosquitto"), "/mosquitto/data": str(folder),
        f"/usr/lib/{PLUGIN}": str(plugin()),
        '"/data"': f'"{folder}"', "sleep 30": "sleep 0.1", "sleep 10": "sleep 0.1",
        "listener 8883": f"listener {port} 127.0.0.1", '"0.0.0.0:4222"': f'"127.0.0.1:{port}"',
        '"0.0.0.0:8222"': f'"127.0.0.1:{monitor}"', '"0.0.0.0:6222"': '"127.0.0.1:-1"',
    }  # fmt: skip
    for mounted, local in replaced.items():
        text = text.replace(mounted, local)
    return text


def eventually(is_so: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            if is_so():
                return True
        except OSError:  # It does not listen yet.
            pass
        time.sleep(0.05)
    return False


def start(*argv: str, **environment: str) -> subprocess.Popen[bytes]:
    launch = Launch(argv, env=environment)
    return subprocess.Popen(launch.argv, **launch.arguments(subprocess.DEVNULL))
