"""Network policies as a cluster enforces them: who may open a connection to whom."""

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from tests.k8s.conftest import Manifest, Rendered, containers_of, labels_of

HOME = "territoire"
NAMESPACE = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class Party:
    """One end of a connection: a pod of some namespace, or an address outside the cluster."""

    labels: dict[str, str] = field(default_factory=dict[str, str])
    namespace: str = HOME
    address: str | None = None
    ports: dict[str, int] = field(default_factory=dict[str, int])
    """Its ports by name, as policies may say them."""

    @property
    def is_governed(self) -> bool:
        """Whether the policies of our namespace speak of it."""
        return self.address is None and self.namespace == HOME


def workload(rendered: Rendered, kind: str, name: str) -> Party:
    """A pod of this workload."""
    manifest = rendered.named(kind, name)
    ports = {
        port["name"]: port["containerPort"]
        for container in containers_of(manifest)
        for port in container.get("ports", [])
    }
    return Party(labels_of(manifest), ports=ports)


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    """Whether a label selector finds these labels; the empty one finds all."""
    matched = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    for rule in selector.get("matchExpressions", []):
        assert rule["operator"] == "In"
        matched = matched and labels.get(rule["key"]) in rule["values"]
    return matched


def allows(rendered: Rendered, source: Party, target: Party, port: int, protocol: str = "TCP") -> bool:
    """Whether `source` may connect to `port` of `target`: both ends have a say, where ours."""
    leaves = _passes(rendered, source, "Egress", target, target, port, protocol)
    return leaves and _passes(rendered, target, "Ingress", source, target, port, protocol)


def _passes(
    rendered: Rendered, governed: Party, direction: str, peer: Party, target: Party, port: int, protocol: str
) -> bool:
    if not governed.is_governed:
        return True
    policies = [
        policy["spec"]
        for policy in rendered.of("NetworkPolicy")
        if direction in policy["spec"]["policyTypes"] and selects(policy["spec"]["podSelector"], governed.labels)
    ]
    if not policies:
        return True
    peers, rules = ("to", "egress") if direction == "Egress" else ("from", "ingress")
    return any(
        _names_port(rule.get("ports"), target, port, protocol) and _names_peer(rule.get(peers), peer)
        for policy in policies
        for rule in policy.get(rules, [])
    )


def _names_port(ports: list[Manifest] | None, target: Party, port: int, protocol: str) -> bool:
    return not ports or any(
        entry.get("protocol", "TCP") == protocol
        and (target.ports.get(entry["port"]) if isinstance(entry["port"], str) else entry["port"]) == port
        for entry in ports
    )


def _names_peer(peers: list[Manifest] | None, peer: Party) -> bool:
    return not peers or any(_is_peer(entry, peer) for entry in peers)


def _is_peer(entry: Manifest, peer: Party) -> bool:
    if "ipBlock" in entry:
        if peer.address is None:
            return False  # What a pod's address is, no policy of ours relies on.
        address = ip_address(peer.address)
        block = entry["ipBlock"]
        return address in ip_network(block["cidr"]) and not any(
            address in ip_network(excepted) for excepted in block.get("except", [])
        )
    if peer.address is not None:
        return False
    if "namespaceSelector" in entry:
        if not selects(entry["namespaceSelector"], {NAMESPACE: peer.namespace}):
            return False
    elif peer.namespace != HOME:
        return False
    return selects(entry.get("podSelector", {}), peer.labels)
