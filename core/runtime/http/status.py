"""/livez, /readyz and /metrics beside the API."""

import msgspec
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from core.runtime.health import Readiness

router = APIRouter(include_in_schema=False)


@router.get("/livez")
async def livez() -> Response:
    """The process answers; no dependency is asked."""
    return Response(b'{"status":"ok"}', media_type="application/json")


@router.get("/readyz")
async def readyz(request: Request) -> Response:
    """Database and bus answer."""
    readiness: Readiness = request.app.state.readiness
    problems = await readiness.problems()
    body = {"status": "unready" if problems else "ok", "problems": problems}
    return Response(msgspec.json.encode(body), 503 if problems else 200, media_type="application/json")


@router.get("/metrics")
async def metrics() -> Response:
    """For Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
