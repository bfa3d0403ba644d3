"""Each page has its explanation, in both languages, and everybody finds the declaration of accessibility."""

from pathlib import Path

from api.console.app import PAGES
from api.console.explanations import TITLES, help_of
from api.console.language import NAMES
from api.console.navigation import GROUPS

HELP = Path(__file__).parents[3] / "api" / "console" / "help"
# What is before the login, about no page, or an explanation itself.
WITHOUT = {
    *(
        "connexion",
        "deconnexion",
        "langue",
        "invitation",
        "mot-de-passe-oublie",
        "reset",
        "collectivite",
        "public",
        "direct",
    ),
    *("aide", "accessibilite"),
}


def test_every_page_has_an_explanation_in_each_language() -> None:
    words = {
        path.strip("/").partition("/")[0]
        for router in PAGES
        for path in (getattr(route, "path", "") for route in router.routes)
    }

    assert words - TITLES.keys() - WITHOUT == set()
    assert [entry.address for group in GROUPS for entry in group.entries if not help_of(entry.address)] == []
    for code in NAMES:
        texts = {path.stem: path.read_text("utf-8") for path in (HELP / code).iterdir()}
        assert texts.keys() - {"accessibilite"} == TITLES.keys(), code
        assert [page for page in TITLES if texts[page].count("<dt>") < 2] == [], code


async def test_a_page_leads_to_its_explanation_and_all_to_the_declaration_of_accessibility(
    enter, browser, tenancy
) -> None:
    reader = await enter(tenancy.id, "reader")
    for code, words in (("fr", "Les mots"), ("en", "The words")):
        await reader.post("/langue", data={"langue": code})
        shown = await reader.get("/aide/partage")

        assert (shown.status_code, shown.text.count("<h1")) == (200, 1)
        assert words in shown.text
    assert 'href="/aide/partage"' in (await reader.get("/partage")).text
    assert (await reader.get("/aide/nulle-part")).status_code == 404
    login = await browser.get("/connexion")
    assert 'href="/accessibilite"' in login.text
    declared = await browser.get("/accessibilite")
    for text in ("non conforme", "RGAA", "Défenseur des droits", "Adressez-vous à la collectivité"):
        assert text in declared.text
    await browser.post("/langue", data={"langue": "en"})
    assert "not conformant" in (await browser.get("/accessibilite")).text
