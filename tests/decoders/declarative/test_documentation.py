"""Every example of docs/codec-declaratif.md is a declaration that is accepted, and every word is in one."""

import re
from pathlib import Path

import pytest

from decoders.declarative import parse

TEXT = (Path(__file__).parents[3] / "docs" / "codec-declaratif.md").read_text("utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
WORDS = re.findall(r"`([a-z_]+)`", TEXT.partition("## Ce qu'il y a en tout")[2].partition("Limites")[0])


@pytest.mark.parametrize("text", BLOCKS, ids=lambda text: str(text.split("\n")[0]))
def test_accepts_the_documented_example(text: str) -> None:
    assert parse(text).name


def test_the_page_has_at_least_twelve_examples() -> None:
    assert len(BLOCKS) >= 12


@pytest.mark.parametrize("word", sorted(set(WORDS) - {"version", "u24"}))
def test_shows_each_word_in_an_example(word: str) -> None:
    assert re.search(rf"\b{word}\b", "".join(BLOCKS))
