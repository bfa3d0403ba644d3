"""Lists that are whole are sorted by their columns, by links that work without a script."""

import re
from datetime import UTC, datetime, timedelta


def titles(page: str, address: str) -> list[str]:
    return re.findall(rf'<td[^>]*><a href="{address}/[^"]+">([^<]+)</a>', page)


async def test_lists_are_sorted_by_the_links_of_their_columns_which_keep_the_filter(
    enter, registry, observations, tenancy
) -> None:
    for name in ("Zone", "Église", "école"):
        await registry.gateway(name=name)
    browser = await enter(tenancy.id, "service_manager")

    usual = await browser.get("/passerelles")
    forwards = await browser.get("/passerelles?tri=nom")
    backwards = await browser.get("/passerelles?tri=-nom")
    odd = await browser.get("/passerelles?tri=-<b>")

    assert 'aria-sort="' not in usual.text
    assert 'href="/passerelles?tri=nom"' in usual.text
    assert titles(forwards.text, "/passerelles") == ["école", "Église", "Zone"]
    assert 'aria-sort="ascending"><a class="sort" href="/passerelles?tri=-nom"' in forwards.text
    assert titles(backwards.text, "/passerelles") == ["Zone", "Église", "école"]
    assert 'aria-sort="descending"' in backwards.text
    assert (odd.status_code, "aria-sort" in odd.text) == (200, False)
    for address in ("/regles?tri=-gravite", "/personnes?tri=nom", "/equipes?tri=nom", "/salles?tri=nom"):
        assert (await browser.get(address)).status_code == 200, address

    now = datetime.now(UTC)
    for name, level in (("Borne b", 40.0), ("Borne a", 90.0), ("Borne c", None)):
        asset = await registry.asset(name=name)
        device = await registry.device(asset_id=asset["id"])
        if level is not None:
            stream = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
            await observations.readings(stream, {now - timedelta(minutes=1): level})
    least = await browser.get("/dechets?commune=Landerneau&tri=remplissage")
    most = await browser.get("/dechets?tri=-remplissage")
    assert re.findall(r">(Borne [abc])<", least.text) == ["Borne b", "Borne a", "Borne c"]
    assert re.findall(r">(Borne [abc])<", most.text) == [
        "Borne a",
        "Borne b",
        "Borne c",
    ]  # Of one nothing is known.
    assert "/dechets?commune=Landerneau&amp;tri=-remplissage" in least.text
