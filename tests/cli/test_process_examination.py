"""The processes of a stack, as `doctor` finds them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.findings import Severity
from cli.place import Place
from cli.process_examination import examine_services
from core.runtime.health import Readiness, serve_health
from services.supervisor.ports import free_tcp_port
from services.supervisor.run_info import RunInfo, ServiceInfo
from tests.cli.breakable import replace_run


@pytest.mark.parametrize(
    ("hours_ago", "severity"), [((40, 30, 5, 1), Severity.GOOD), ((40, 23, 5, 1), Severity.WARNING)]
)
async def test_only_restarts_of_the_last_day_are_to_be_looked_at(
    run: RunInfo, tmp_path: Path, hours_ago: tuple[int, ...], severity: Severity
) -> None:
    now = datetime.now(UTC)

    async def well() -> None:
        return None

    at = tuple((now - timedelta(hours=hours)).timestamp() for hours in hours_ago)
    async with serve_health(Readiness({"bus": well}), "127.0.0.1", 0) as port:
        service = ServiceInfo("ingest", 1, 4, "ingest.log", f"http://127.0.0.1:{port}", restarted_at=at)
        [found] = await examine_services(Place(run=replace_run(run, home=str(tmp_path), services=(service,))))

    assert found.severity is severity
    if severity:
        since = now - timedelta(hours=23)
        assert found.what == f"prêt, mais redémarré 3 fois depuis le {since:%d/%m à %H h %M} UTC"


async def test_processes_are_named_one_by_one_whatever_they_wait_for(run: RunInfo, tmp_path: Path) -> None:
    """Two that wait for one thing are one line; the dead each have their last words."""

    def service(name: str, pid: int | None) -> ServiceInfo:
        (tmp_path / f"{name}.log").write_text(f'{{"message": "{name} a fini"}}\n', "utf-8")
        return ServiceInfo(name, pid, 0, str(tmp_path / f"{name}.log"), f"http://127.0.0.1:{free_tcp_port()}")

    services = (service("network", 1), service("ingest", 1), service("api", None), service("alerting", None))

    found = await examine_services(Place(run=replace_run(run, home=str(tmp_path), services=services)))

    assert [one.names for one in found] == [("network", "ingest"), ("api",), ("alerting",)]
    assert [key for one in found for key in one.keys] == [
        f"process.unready/{name}" for name in ("network", "ingest", "api", "alerting")
    ]
    assert [
        name in one.remedy for one, name in zip(found[1:], ("api a fini", "alerting a fini"), strict=True)
    ] == [
        True,
        True,
    ]
