"""The overlays as kubectl renders them."""

import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
OVERLAYS = ("demo", "staging", "production")
WORKLOADS = ("Deployment", "StatefulSet", "Job")
Manifest = dict[str, Any]


@dataclass(frozen=True)
class Rendered:
    """All that an overlay applies."""

    overlay: str
    manifests: list[Manifest]

    def of(self, *kinds: str) -> list[Manifest]:
        return [manifest for manifest in self.manifests if manifest["kind"] in kinds]

    def named(self, kind: str, name: str) -> Manifest:
        [found] = [manifest for manifest in self.of(kind) if manifest["metadata"]["name"] == name]
        return found

    @property
    def ours(self) -> list[Manifest]:
        """The processes of Territoire, without the servers that they need."""
        return [manifest for manifest in self.of(*WORKLOADS) if labels_of(manifest).get(PART_OF) == "territoire"]

    @property
    def settings(self) -> dict[str, str]:
        """What every process of Territoire is told alike."""
        [name] = {
            source["configMapRef"]["name"]
            for manifest in self.ours
            for container in containers_of(manifest)
            for source in container["envFrom"]
        }
        return self.named("ConfigMap", name)["data"]


PART_OF = "app.kubernetes.io/part-of"


def labels_of(workload: Manifest) -> dict[str, str]:
    return workload["spec"]["template"]["metadata"]["labels"]


def containers_of(workload: Manifest) -> list[Manifest]:
    return workload["spec"]["template"]["spec"]["containers"]


@cache
def render(overlay: str) -> Rendered:
    """What `kubectl kustomize` prints, read once; a test that changes it makes a copy."""
    return rendered_from(overlay, CHECKOUT / "k8s" / "overlays" / overlay)


def rendered_from(overlay: str, folder: Path) -> Rendered:
    """What `kubectl kustomize` prints of any folder."""
    kubectl = Path(sys.executable).with_name("kubectl")
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Rendered(overlay, list(yaml.safe_load_all(done.stdout)))


@pytest.fixture(scope="session", params=OVERLAYS)
def rendered(request: pytest.FixtureRequest) -> Rendered:
    return render(request.param)
