"""Every replica that an autoscaler may start finds its connections to PostgreSQL, beside what operators open."""

import pytest

from tests.k8s.conftest import OVERLAYS, Manifest, Rendered, containers_of, render
from tests.k8s.test_rules import settings_of

# By PostgreSQL's own default, kept for superusers: `superuser_reserved_connections`.
KEPT_FOR_SUPERUSERS = 3
POSTGRES_DEFAULT = 100
# The exporter and instance manager of CloudNativePG, replication, a backup, a migration and its check, one `psql`.
OTHERS = 15
MARGIN = 1.2


def replicas_of(rendered: Rendered, deployment: Manifest) -> int:
    """The most that run at once: what its autoscaler may ask for, and those an update starts before others go."""
    name = deployment["metadata"]["name"]
    scaled = [
        scaler["spec"].get("maxReplicas") or scaler["spec"]["maxReplicaCount"]
        for scaler in rendered.of("HorizontalPodAutoscaler", "ScaledObject")
        if scaler["spec"]["scaleTargetRef"]["name"] == name
    ]
    most = scaled[0] if scaled else deployment["spec"]["replicas"]
    strategy = deployment["spec"].get("strategy", {})
    return most + strategy.get("rollingUpdate", {"maxSurge": 0 if strategy else most})["maxSurge"]


def pool_of(rendered: Rendered, deployment: Manifest) -> int:
    """Connections of one replica: of its settings, or as the manifests say."""
    [container] = containers_of(deployment)
    said = {variable["name"]: variable.get("value") for variable in container.get("env", [])}
    said |= rendered.settings
    if said.get("TERRITOIRE_POOL_SIZE"):
        return int(said["TERRITOIRE_POOL_SIZE"])
    [module] = container["args"]
    return settings_of(module).model_fields["pool_size"].default


def allowed_by(rendered: Rendered) -> int:
    """`max_connections` of the overlay's server."""
    clusters = rendered.of("Cluster")
    if clusters:
        return int(clusters[0]["spec"]["postgresql"]["parameters"]["max_connections"])
    [container] = containers_of(rendered.named("StatefulSet", "database"))
    said = [argument for argument in container["args"] if argument.startswith("max_connections=")]
    return int(said[0].partition("=")[2]) if said else POSTGRES_DEFAULT


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_server_takes_all_replicas_that_may_run_at_once_with_a_fifth_to_spare(overlay: str) -> None:
    rendered = render(overlay)
    wanted = {
        deployment["metadata"]["name"]: replicas_of(rendered, deployment) * pool_of(rendered, deployment)
        for deployment in rendered.of("Deployment")
        if deployment in rendered.ours
    }

    needed = sum(wanted.values()) * MARGIN + OTHERS + KEPT_FOR_SUPERUSERS
    assert len(wanted) >= 9
    assert needed <= allowed_by(rendered), wanted
