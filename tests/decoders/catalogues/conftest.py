from collections.abc import Callable, Iterator, Mapping

import pytest

from cli.catalogue_literals import literal_worker
from decoders.catalogues.files import Catalogue, Unreadable
from decoders.catalogues.literals import Evaluate


class InMemory:
    """A catalogue of texts, or of octets."""

    def __init__(self, files: Mapping[str, str | bytes]) -> None:
        self._files = files

    def paths(self) -> list[str]:
        return sorted(self._files)

    def octets(self, path: str) -> bytes:
        content = self._files.get(path)
        if content is None:
            raise Unreadable(f"fichier absent : {path}")
        return content.encode() if isinstance(content, str) else content


@pytest.fixture(scope="session")
def evaluate() -> Iterator[Evaluate]:
    """A worker process, as the command has one."""
    with literal_worker() as evaluate:
        yield evaluate


@pytest.fixture
def catalogue(evaluate: Evaluate) -> Callable[[Mapping[str, str | bytes]], Catalogue]:
    return lambda files: Catalogue(InMemory(files), evaluate)
