"""The console in French, and in English where somebody asks for it."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

import api.console
from api.console.language import ENGLISH, FRENCH, Language

CONSOLE = Path(api.console.__file__).parent
PARIS = ZoneInfo("Europe/Paris")
FOUND_BY = {"_": None, "gettext": None, "marked": None, "ngettext": (1, 2)}


def texts_of_the_code() -> set[object]:
    found = extract_from_dir(
        CONSOLE,
        method_map=[("**.py", "python"), ("**.html", "jinja2")],
        options_map={"**.html": {"newstyle_gettext": "true"}},
        keywords=FOUND_BY,
    )
    return {message for _, _, message, _, _ in found}


def test_every_text_has_one_english_and_no_other_is_kept() -> None:
    parts = sorted((CONSOLE / "locales" / ENGLISH).iterdir())
    messages = [message for part in parts for message in read_po(part.open("rb"), locale=ENGLISH)]
    translated = Counter(message.id for message in messages if message.id and message.string)

    assert texts_of_the_code() - translated.keys() == set()
    assert translated.keys() - texts_of_the_code() == set()
    assert [text for text, times in translated.items() if times > 1] == []


def test_numbers_and_instants_are_written_as_each_language_does() -> None:
    french, english = Language(FRENCH, PARIS), Language(ENGLISH, PARIS)
    now = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)

    assert french.number(1234.5, 1) == "1\u202f234,5"
    assert english.number(1234.5, 1) == "1,234.5"
    assert french.number(None) == "—"
    assert french.exact(now) == "27 novembre 2026 13:00:00"
    assert french.relative(now - timedelta(minutes=5), now) == "il y a 5 minutes"
    assert english.relative(now - timedelta(minutes=5), now) == "5 minutes ago"
    assert french.relative(now - timedelta(days=40), now) == "18 oct. 2026"
