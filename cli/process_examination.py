"""Examines the processes of the stack on this machine."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cli.finding_kinds import Kind, Subject
from cli.findings import Finding, critical, good, warning
from cli.place import Place
from cli.report import last_line
from cli.state import read_services
from services.supervisor.run_info import HELD, ServiceInfo

RESTARTED_OFTEN = 3
RESTARTED_WITHIN = timedelta(days=1)


async def examine_services(place: Place) -> list[Finding]:
    """Examine every process of the stack on this machine."""
    if place.run is None:
        return []
    found: list[Finding] = []
    problems: dict[str, str] = {}
    waiting: dict[str, list[ServiceInfo]] = {}
    for service, state in zip(place.run.services, await read_services(place.run), strict=True):
        if state.problem is not None:
            # Of one that is dead the last words are its own.
            is_waiting = service.health_url is not None and service.pid is not None
            waiting.setdefault(state.problem if is_waiting else service.name, []).append(service)
            problems[service.name] = state.problem
        elif len(restarts := _recent_restarts(service)) >= RESTARTED_OFTEN:
            what = f"prêt, mais redémarré {len(restarts)} fois depuis le {restarts[0]:%d/%m à %H h %M} UTC"
            remedy = f"lisez {service.log} : il y a une cause"
            found.append(warning(Kind.PROCESS_RESTARTED, what, remedy, [service.name]))
    # What waits for the same reason is one finding: nine processes wait for one database.
    for services in waiting.values():
        names = [service.name for service in services]
        remedy = _services_remedy(Path(place.run.home), services)
        found.append(critical(Kind.PROCESS_UNREADY, problems[names[0]], remedy, names))
    return found or [good(Subject.PROCESS, f"les {len(place.run.services)} sont prêts")]


def _recent_restarts(service: ServiceInfo) -> list[datetime]:
    """One that has kept up since is not to be looked at for as long as the stack runs."""
    now = datetime.now(UTC)
    restarts = [datetime.fromtimestamp(at, UTC) for at in service.restarted_at]
    # A clock that was put back leaves some that are still to come.
    return [at for at in restarts if timedelta() <= now - at < RESTARTED_WITHIN]


def _services_remedy(home: Path, services: Sequence[ServiceInfo]) -> str:
    held = [str(home / HELD / service.name) for service in services if (home / HELD / service.name).exists()]
    if held:
        return f"quelqu'un l'a arrêté à dessein : effacez {', '.join(held)}, et il repart"
    first = services[0]
    if first.health_url is not None and first.pid is not None:
        logs = first.log if len(services) == 1 else f"{Path(first.log).parent}, un journal par processus"
        return f"cela réparé, tout reprend de soi-même ; le détail : {logs}"
    last = last_line(Path(first.log))
    ending = f" ; il a dit en dernier : {last}" if last else ""
    return f"il est redémarré de lui-même ; si cela dure, lisez {first.log}{ending}"
