"""A share of `bench contract`: what schemathesis draws from the document, by every role."""

import random
from collections.abc import Mapping

import httpx
from fastapi import FastAPI

from core.runtime.postgres import Pool
from lab.bench import contract
from tests.api.document import DOCUMENT

# Of the operations: drawing costs what asking costs.
SHARE = 0.06


async def test_no_request_that_is_drawn_from_the_document_breaks_it(app: FastAPI, pool: Pool) -> None:
    def opened(headers: Mapping[str, str]) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="https://api", headers=headers)

    found = await contract.ask_all(opened, pool, DOCUMENT, 1, random.Random(20261128), share=SHARE)

    assert found.breaches == {}
    assert found.requests > 25
    assert {200, 401, 403, 404, 422} <= found.statuses.keys()
