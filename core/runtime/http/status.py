"""/livez, /readyz and /metrics of an application of FastAPI, which has its `readiness` in its state."""

from fastapi import APIRouter, Request, Response

from core.runtime.health import HealthApp

router = APIRouter(include_in_schema=False)


async def _answer(request: Request) -> Response:
    status, content_type, body = await HealthApp(request.app.state.readiness).answer(request.url.path)
    return Response(body, status, media_type=content_type)


for path in HealthApp.paths:
    router.add_api_route(path, _answer, methods=["GET"])
