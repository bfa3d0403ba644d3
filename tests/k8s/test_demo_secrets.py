"""The demo's script makes every secret that the demo's pods ask for, and they belong together."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from core.messages.permissions import OWNER, USERS
from core.runtime.keks import KEK_OCTETS
from registry.rights import LOGINS
from tests.k8s.conftest import CHECKOUT, WORKLOADS, containers_of, render

pytestmark = pytest.mark.starts_processes


def made() -> dict[str, dict[str, str]]:
    """Secret, key, value."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    script = CHECKOUT / "k8s" / "overlays" / "demo" / "secrets.sh"
    done = subprocess.run([script], env={"PATH": path}, capture_output=True, text=True, check=True)
    secrets = [secret for secret in yaml.safe_load_all(done.stdout) if secret]
    assert {secret["metadata"]["namespace"] for secret in secrets} == {"territoire"}
    return {
        secret["metadata"]["name"]: {
            key: base64.b64decode(value).decode() for key, value in secret["data"].items()
        }
        for secret in secrets
    }


def test_the_demo_s_secrets_are_made_and_fit_one_another() -> None:
    secrets, demo = made(), render("demo")
    for workload in demo.of(*WORKLOADS):
        for container in containers_of(workload):
            for entry in container["env"]:
                reference = entry.get("valueFrom", {}).get("secretKeyRef", {"optional": True})
                assert reference.get("optional") or reference["key"] in secrets[reference["name"]]
    database = secrets["territoire-database"]
    logins: dict[str, str] = json.loads(database["logins"])
    assert logins.keys() == LOGINS.keys()
    passwords = {LOGINS[service]: password for service, password in logins.items()}
    passwords |= {"territoire": database["owner-password"]}
    addresses = [urlsplit(address) for key, address in database.items() if key.endswith("-url")]
    assert {url.username: url.password for url in addresses} == passwords
    assert {url.hostname for url in addresses} == {demo.named("Service", "database")["metadata"]["name"]}
    bus = secrets["territoire-bus"]
    kept = {OWNER: bus["password"]} | {
        user: bus[f"{service.replace('_', '-')}-password"] for service, user in USERS.items()
    }
    to_bus = [urlsplit(address) for key, address in bus.items() if key.endswith("url")]
    assert {url.username: url.password for url in to_bus} == kept
    assert len(set(kept.values())) == len(kept)
    assert {url.hostname for url in to_bus} == {"nats"}
    assert len(bytes.fromhex(secrets["territoire-kek"]["kek"])) in KEK_OCTETS
    assert secrets["territoire-operator"]["api-key"].startswith("terr_")
