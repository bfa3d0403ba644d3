"""What a caller who is known was not allowed, or did to an object that had changed: a line of the audit for each.

One way for all of them, whether a dependency, a route or row security rejects: the answer's status says so.
"""

import structlog
from fastapi import FastAPI, Request, Response

from api.auth import Caller, MissingRight
from core.runtime.errors import describe
from core.runtime.http.errors import Problem, problem_of, render_problem
from core.runtime.postgres import DATABASE_AWAY, InsufficientPrivilegeError

FORBIDDEN = 403

log = structlog.get_logger()


async def record_stale(request: Request) -> None:
    """Record that a change came with the tag of an object that has changed since (412)."""
    await _record(request, "stale", {"why": "If-Match"})


def audit_rejections(app: FastAPI) -> None:
    """Answer as without it, and write a line for each 403."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(InsufficientPrivilegeError, _forbidden)


async def record_forbidden(request: Request, problem: Problem) -> None:
    """Record a 403; any other problem is none of the audit's."""
    if problem.status == FORBIDDEN:
        given = {"right": problem.right} if isinstance(problem, MissingRight) else {}
        await _record(request, "right", {"why": problem.detail, **given})


async def _problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)  # noqa: S101 - Registered for this class.
    await record_forbidden(request, problem)
    return render_problem(problem)


async def _forbidden(request: Request, error: Exception) -> Response:
    await _record(request, "right", {"why": "row security"})
    problem = problem_of(error)
    assert problem is not None  # noqa: S101 - Registered for what it knows.
    return render_problem(problem)


async def _record(request: Request, reason: str, given: dict[str, str]) -> None:
    caller: Caller | None = getattr(request.state, "caller", None)
    if caller is None:
        return
    principal = caller.principal
    asked = {"method": request.method, "path": request.url.path} | given
    try:
        await caller.platform.rejections.record(
            caller.address,
            reason,
            asked | principal.identity,
            tenant_id=principal.tenant_id,
            actor=principal.actor,
        )
    except DATABASE_AWAY as away:  # What was asked for is rejected all the same.
        log.warning("rejection_not_recorded", error=describe(away))
