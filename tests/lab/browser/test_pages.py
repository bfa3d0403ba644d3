"""Which pages the browser's tests, screenshots and benchmark look at."""

import pytest

from lab.bench.console import heap_growth
from lab.browser.pages import NoExample, PagePath, address_of, page_paths


def test_the_pages_are_the_applications_own_and_each_has_a_name_of_its_own() -> None:
    pages = page_paths()

    assert {"/supervision", "/carte", "/alertes/{id}", "/connexion"} <= {page.path for page in pages}
    assert "/carte/points" not in {page.path for page in pages}
    assert len({page.name for page in pages}) == len(pages)
    assert {page.path: page.right for page in pages}["/connexion"] is None


async def test_a_page_that_names_a_thing_takes_one_or_says_that_it_has_none(pool) -> None:
    tenant_id = await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('ville', 'Ville') RETURNING id")

    assert await address_of(PagePath("/carte", "read"), pool, tenant_id) == "/carte"
    with pytest.raises(NoExample, match="no such thing"):
        await address_of(PagePath("/passerelles/{gateway_id}", "read"), pool, tenant_id)
    with pytest.raises(NoExample, match="no example"):
        await address_of(PagePath("/nouvelles/{id}", "read"), pool, tenant_id)
    await pool.execute(
        "INSERT INTO gateway (tenant_id, gateway_id, name) VALUES ($1, '\\x0080000000000001', 'Mairie')", tenant_id
    )
    for path in ("/passerelles/{gateway_id}", "/passerelles/{gateway_id}/acces"):
        address = await address_of(PagePath(path, "read"), pool, tenant_id)
        assert address == path.replace("{gateway_id}", "0080000000000001")


async def test_every_example_is_a_question_that_the_schema_answers(pool) -> None:
    missing: list[str] = []
    for page in page_paths():
        try:
            await address_of(page, pool, 1)
        except NoExample as nothing:
            missing.append(str(nothing))

    assert len(missing) > 10
    assert [text for text in missing if "no such thing" not in text] == []


def test_a_heap_that_grows_is_seen_and_one_that_fills_first_is_not() -> None:
    assert heap_growth([5, 9, 10, 10, 10, 10, 10, 10]) == pytest.approx(1.0)
    assert heap_growth([5, 9, 10, 11, 12, 13, 14, 15]) > 1.3
    assert heap_growth([7]) == 1.0
