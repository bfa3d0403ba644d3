"""A collector of spans: OTLP/HTTP as OpenTelemetry specifies it, read with its own protobuf."""

import gzip
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from starlette.requests import Request
from starlette.responses import Response

from core.runtime.health import serve_http

PROTOBUF = "application/x-protobuf"


@dataclass
class Collector:
    """What arrived: each span with its resource's attributes."""

    url: str = ""
    spans: list[tuple[dict[str, str], Span]] = field(default_factory=list)

    def of(self, trace_id: bytes) -> dict[str, tuple[dict[str, str], Span]]:
        """The spans of a trace, by name."""
        return {span.name: (resource, span) for resource, span in self.spans if span.trace_id == trace_id}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        assert (request.method, request.url.path) == ("POST", "/v1/traces")
        assert request.headers["content-type"] == PROTOBUF
        octets = await request.body()
        if request.headers.get("content-encoding") == "gzip":
            octets = gzip.decompress(octets)
        for of_resource in ExportTraceServiceRequest.FromString(octets).resource_spans:
            resource = {one.key: one.value.string_value for one in of_resource.resource.attributes}
            self.spans += [
                (resource, span) for scope_spans in of_resource.scope_spans for span in scope_spans.spans
            ]
        answer = Response(ExportTraceServiceResponse().SerializeToString(), media_type=PROTOBUF)
        await answer(scope, receive, send)


@asynccontextmanager
async def collector(port: int = 0) -> AsyncGenerator[Collector]:
    """Listening on the loopback while the block runs."""
    collecting = Collector()
    async with serve_http(collecting, "127.0.0.1", port) as bound:
        collecting.url = f"http://127.0.0.1:{bound}"
        yield collecting
