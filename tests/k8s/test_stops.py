"""Services that are stopped on purpose stay so until the page starts them all, and wake nobody meanwhile."""

import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import yaml

from services.supervisor.ports import free_tcp_port
from tests.k8s.conftest import CHECKOUT, Manifest, Rendered, render, rendered_from
from tests.system.alarm_stage import play

KUBERNETES, MOVE = (CHECKOUT / "docs" / f"{name}.md" for name in ("kubernetes", "demenagement"))
STOPS = "arrêter-les-services-les-remettre-en-marche"
# What docs/kubernetes.md starts at once, where no autoscaler holds them.
FIXED = {
    "gateway-bridge": 2,
    "gateway-bridge-mqtt": 1,
    "alerting": 2,
    "lighting": 2,
    "maintenance": 2,
    "indicators": 2,
}


def section(page: Path, heading: str) -> str:
    """What stands under a heading of a page, until the next."""
    text = page.read_text("utf-8")
    [found] = re.findall(rf"^##+ {re.escape(heading)}\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    return found


def blocks(text: str) -> list[list[str]]:
    """The commands of each block."""
    found = re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [block.replace("\\\n", " ").splitlines() for block in found]


STOP, START = blocks(section(KUBERNETES, "Arrêter les services, les remettre en marche"))
UPGRADE = blocks(section(KUBERNETES, "Mettre à jour, revenir en arrière"))[-1]
RESTORE = blocks(section(KUBERNETES, "Restaurer"))
REHEARSED = [block for heading in ("3. Répéter", "4. Arrêter le serveur, sauvegarder", "5. Restaurer")
             for block in blocks(section(MOVE, heading))]  # fmt: skip


def is_selected(manifest: Manifest, selector: str) -> bool:
    """By `a=b` or `a in (b, c)`, as kubectl reads it."""
    label, values = re.fullmatch(r"([\w./-]+)(?:=| in )\(?([^)]*)\)?", selector).groups()  # type: ignore[union-attr]
    return manifest["metadata"].get("labels", {}).get(label) in re.split(", *", values)


class Replicas:
    """How many each Deployment has, by what is typed: `apply` sets what is written, an autoscaler its least."""

    def __init__(self, rendered: Rendered) -> None:
        self.rendered = rendered
        self.written = {one["metadata"]["name"]: one["spec"].get("replicas") for one in rendered.of("Deployment")}
        self.of_load = {one["spec"]["scaleTargetRef"]["name"]: one["spec"]["minReplicas"]
                        for one in rendered.of("HorizontalPodAutoscaler")}  # fmt: skip
        self.of_keda = {one["spec"]["scaleTargetRef"]["name"]: one["spec"]["minReplicaCount"]
                        for one in rendered.of("ScaledObject")}  # fmt: skip
        least = self.of_load | self.of_keda
        self.run = {name: least[name] if count is None else count for name, count in self.written.items()}
        self.is_paused = False

    def typed(self, line: str) -> None:
        """One command; then the autoscalers do what they do: that of Kubernetes raises no zero, KEDA does."""
        if "apply" in line:
            self._apply(line)
        if scaled := re.search(r"scale deployment(?:/(\S+)| --all) --replicas=(\d)", line):
            names = [scaled[1]] if scaled[1] else list(self.run)
            self.run |= dict.fromkeys(names, int(scaled[2]))
        if paused := re.search(r"annotate scaledobject --all autoscaling\.keda\.sh/paused-replicas(=0|-)", line):
            self.is_paused = paused[1] == "=0"
        for name, least in self.of_load.items():
            self.run[name] = max(self.run[name], least) if self.run[name] else 0
        for name, least in self.of_keda.items():
            self.run[name] = 0 if self.is_paused else max(self.run[name], least)

    def _apply(self, line: str) -> None:
        for name in self.applied(line, "Deployment"):
            count = self.written[name]
            if count is not None:
                self.run[name] = count

    def applied(self, line: str, kind: str) -> set[str]:
        """The names of this kind that the command applies."""
        selector = re.search(r"apply -l ('[^']*'|\S+)", line)
        assert selector or "apply -k" in line, line
        return {
            one["metadata"]["name"]
            for one in self.rendered.of(kind)
            if selector is None or is_selected(one, selector[1].strip("'"))
        }


def played(*typed: Sequence[str]) -> tuple[dict[str, int], dict[str, set[str]]]:
    """What runs after all of it, and what ran after which command, where anything did."""
    cluster, running = Replicas(render("production")), dict[str, set[str]]()
    for line in (line for block in typed for line in block):
        cluster.typed(line)
        if some := {name for name, count in cluster.run.items() if count}:
            running[line] = some
    return cluster.run, running


def test_what_is_stopped_stays_so_and_is_started_whole() -> None:
    stopped, _ = played(STOP)
    started, _ = played(STOP, START)

    assert set(stopped.values()) == {0}
    assert started == FIXED | {"api": 2, "intake": 2, "network": 2, "ingest": 2}
    # What the model stands on.
    assert Replicas(render("production")).run == started
    assert played(STOP, ["kubectl apply -k k8s/overlays/production"])[0] == dict.fromkeys(started, 0) | FIXED


def test_an_upgrade_with_services_stopped_ends_with_every_replica() -> None:
    assert played(STOP, UPGRADE, START)[0] == Replicas(render("production")).run


@pytest.mark.parametrize("page", [RESTORE, REHEARSED], ids=["restore", "move"])
def test_no_service_runs_on_a_restored_database_before_it_is_made_good(page: list[list[str]]) -> None:
    _, running = played(STOP, *page)

    started = {line: names for line, names in running.items() if line not in STOP}
    assert not started
    assert any("apply" in line for block in page for line in block)


def test_a_restore_applies_the_cluster_alone_with_the_page_s_patch(tmp_path: Path) -> None:
    text = section(KUBERNETES, "Restaurer")
    [patch] = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    base = os.path.relpath(CHECKOUT / "k8s" / "overlays" / "production", tmp_path)
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": [base], "patches": [{"patch": patch}]}), "utf-8"
    )
    rendered = rendered_from("production", tmp_path)
    cluster = rendered.named("Cluster", "database")
    lines = [line for block in blocks(text) for line in block]
    [first, second] = [line for line in lines if "apply" in line]
    whole = Replicas(rendered)

    assert cluster["spec"]["bootstrap"].keys() == {"recovery"}
    assert cluster["spec"]["plugins"][0]["parameters"]["serverName"] == "database-2"
    kinds = {one["kind"] for one in rendered.manifests}
    assert {kind for kind in kinds if whole.applied(first, kind)} == {"Cluster"}
    assert {kind for kind in kinds if whole.applied(second, kind)} == {"StatefulSet", "Job"}
    assert whole.applied(second, "StatefulSet") == {"nats"}
    # Services last, and behind what makes the database good.
    at = [
        text.index(words) for words in ("person again", "f_cnt_down", "statefulset nats", "Maintenant seulement")
    ]
    assert at == sorted(at)


def test_every_stop_is_by_the_lines_that_silence_its_alarms() -> None:
    for page in sorted((CHECKOUT / "docs").glob("*.md")):
        text = page.read_text("utf-8")
        assert text.count("scale deployment --all --replicas=0") == (page == KUBERNETES), page.name
    for page in (KUBERNETES, MOVE, CHECKOUT / "docs" / "exploitation.md", CHECKOUT / "docs" / "scaling.md"):
        assert f"#{STOPS})" in page.read_text("utf-8"), page.name


# Silences --------------------------------------------------------------------------------------------------------


def silences(block: Sequence[str]) -> list[list[str]]:
    """The matchers of each silence that is added."""
    found: list[list[str]] = []
    for line in block:
        if added := re.search(r"\$\(amtool (silence add .*)\)$", line):
            words = shlex.split(added[1])[2:]
            found.append([word for word in words if not word.startswith("--")])
    return found


def promql(matchers: Sequence[str]) -> str:
    """As a selector has them: Alertmanager anchors as Prometheus does."""
    return ",".join(one if '"' in one else re.sub("=(.*)", r'="\1"', one) for one in matchers)


SERVICES = ("gateway-bridge", "gateway-bridge-mqtt", "network", "intake", "ingest", "alerting", "lighting",
            "maintenance", "indicators", "api")  # fmt: skip
# Minutes: all is well, stopped at the tenth, started at the fiftieth, not ready before the sixty-fifth.
OF_A_PROCESS = {"up": "1x9 stale _x39 1x70", "territoire_ready": "1x9 stale _x39 0x14 1x55"}
OF_THEM = {
    f'territoire_shards{{app_kubernetes_io_name="{name}"}}': "16x9 stale _x39 16x70"
    for name in ("network", "ingest", "alerting")
} | {
    f"territoire_{name}_shards_owned": "16x9 stale _x39 0x14 16x55" for name in ("network", "ingest", "alerting")
} | {
    "territoire_bus_streams_answered_timestamp_seconds": "0+60x9 stale _x39 3000+60x70",
    'territoire_maintenance_last_success_timestamp_seconds{task="housekeeping"}': "0x9 stale _x39 3000x70",
    "territoire_gateway_bridge_gateways_registered": "1x9 stale _x39 1x70",
    'territoire_gateway_bridge_uplinks_total{result="forwarded"}': "0+600x9 stale _x39 0+600x70",
    'territoire_gateway_bridge_gateway_last_seen_timestamp_seconds{gateway_id="a"}':
        "0+60x9 stale _x39 540 3060+60x70",
}  # fmt: skip
# The cluster is deleted, and is back after thirty minutes; ten later it has a replica, and another ten later two.
OF_THE_DATABASE = {
    'cnpg_collector_up{namespace="territoire",pod="database-1"}': "1x9 stale _x29 1x80",
    'cnpg_pg_replication_streaming_replicas{namespace="territoire",pod="database-1"}':
        "2x9 stale _x29 0x10 1x10 2x60",
    'cnpg_pg_replication_lag{namespace="territoire",pod="database-2"}': "0x9 stale _x39 0x70",
    'barman_cloud_cloudnative_pg_io_last_available_backup_timestamp{namespace="territoire",pod="database-1"}':
        "0x9 stale _x85 5700x30",
}  # fmt: skip


def scene(series: Mapping[str, str], silenced: Sequence[Sequence[str]], expected: set[str]) -> dict[str, Any]:
    """Of all that wakes somebody in these two hours: it is these alarms, and each under a silence."""
    rung = 'ALERTS{alertstate="firing",severity="critical"%s}[2h]'
    quiet = " or ".join(f"max_over_time({rung % f',{promql(matchers)}'})" for matchers in silenced)
    names = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(expected)]
    at = {"eval_time": "115m"}
    return {
        "name": "a stop on purpose",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {**at, "expr": f"group by (alertname) (max_over_time({rung % ''}))", "exp_samples": names},
            {**at, "expr": f"max_over_time({rung % ''}) unless ({quiet})", "exp_samples": []},
        ],
    }


def of_every_process() -> dict[str, str]:
    """What the scrape has of each."""
    target = 'namespace="territoire",app_kubernetes_io_name="%s",pod="1"'
    return {f"{series}{{{target % name}}}": values for series, values in OF_A_PROCESS.items() for name in SERVICES}


@pytest.mark.starts_processes
@pytest.mark.parametrize(
    ("series", "block", "expected"),
    [
        (OF_THEM, STOP, {"ServiceAbsent", "PontMqttAbsent", "ServicePasPret", "PartSansProprietaire"}),
        (OF_THE_DATABASE, RESTORE[0], {"BaseSansMesure", "RepliqueDeLaBaseAbsente", "SauvegardeInconnue"}),
    ],
    ids=["services", "database"],
)
def test_a_silence_covers_the_alarms_of_its_stop_and_no_other(
    series: Mapping[str, str], block: Sequence[str], expected: set[str], tmp_path: Path
) -> None:
    [matchers] = silences(block)
    alone = {**series, **(of_every_process() if series is OF_THEM else {})}
    # A database that is well beside the services, services that are well beside the database.
    beside = {
        name: re.sub(r"^.*$", "1x119", values)
        for name, values in (OF_THE_DATABASE if series is OF_THEM else of_every_process()).items()
    }
    beside = {name: "2x119" if "streaming" in name else values for name, values in beside.items()}
    groups = [group for one in render("production").of("PrometheusRule") for group in one["spec"]["groups"]]

    wrong = play({"groups": groups}, [scene({**alone, **beside}, [matchers], expected)], tmp_path)

    assert not wrong, wrong
    assert set(re.findall(r"[A-Z]\w+", matchers[-1])) == expected
    assert matchers[0] == "namespace=territoire"


@pytest.mark.starts_processes
@pytest.mark.skipif(shutil.which("amtool") is None, reason="Debian's package prometheus-alertmanager")
def test_alertmanager_takes_the_silences_and_ends_them(tmp_path: Path) -> None:
    port = free_tcp_port()
    url = f"http://127.0.0.1:{port}"
    (tmp_path / "alertmanager.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n", "utf-8")
    server = subprocess.Popen(
        [
            "prometheus-alertmanager", f"--config.file={tmp_path}/alertmanager.yml", f"--storage.path={tmp_path}",
            f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait_for(f"{url}/-/ready")
        typed = [
            *(line for line in (*STOP, *RESTORE[0]) if line.startswith(("silence=", "silence_base="))),
            'printf "%s\\n" "$silence" "$silence_base"',
            "amtool silence query -q",
            *(line for line in (*START, *RESTORE[-1]) if line.startswith("amtool silence expire")),
            "amtool silence query",
        ]
        head = f'set -e\nUSER=astreinte\namtool() {{ command amtool --alertmanager.url={url} "$@"; }}\n'
        script = head + "\n".join(typed)
        said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    finally:
        server.terminate()
        server.wait()

    assert said.returncode == 0, said.stderr
    first, second, *rest = said.stdout.splitlines()
    assert len({first, second}) == 2
    assert sorted(rest[:2]) == sorted({first, second})
    assert not re.findall(r"[\w-]{36}", "\n".join(rest[2:]))


def _wait_for(url: str) -> None:
    for _ in range(300):
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise TimeoutError(url)
