"""Whether a contributor is a commune: people write "Ville de Landerneau" where a map says "Landerneau"."""

from core.model.accents import without_accents

HEADS = ("ville", "commune", "mairie")
# The article of a name melts into what stands before it: la ville du Relecq-Kerhuon, la commune des Ulis.
MELTED = {"le ": "du ", "les ": "des "}


def is_commune(contributor: str, commune: str) -> bool:
    """Whether the contributor's name is the commune's, or says which town, commune or mairie it is."""
    written = _folded(contributor)
    return written == _folded(commune) or written in _titles(_folded(commune))


def _titles(commune: str) -> set[str]:
    links = {f"de {commune}", f"d'{commune}"}
    links |= {
        melted + commune.removeprefix(article) for article, melted in MELTED.items() if commune.startswith(article)
    }
    return {f"{head} {link}" for head in HEADS for link in links}


def _folded(name: str) -> str:
    """Without accents, capitals, typographic apostrophes and doubled spaces."""
    plain = without_accents(name.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    return " ".join(plain.casefold().split())
