"""The console in French, and in English where somebody asks for it."""

import ast
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

import api.console
from api.console.language import ENGLISH, ERRORS, FRENCH, Language
from api.console.said import VARIABLE, said

CONSOLE = Path(api.console.__file__).parent
PARIS = ZoneInfo("Europe/Paris")
# What says errors to people.
SAY = (
    "alerting/requested_alerts.py",
    "api/*.py",
    "api/routes/*.py",
    "api/console/**/*.py",
    "alerting/wording.py",
    "core/model/*.py",
    "core/runtime/http/*.py",
    "indicators/**/*.py",
    "registry/passwords.py",
    "indicators/waste/rounds/*.py",
)
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
    parts = sorted(part for part in (CONSOLE / "locales" / ENGLISH).iterdir() if part.name != ERRORS)
    messages = [message for part in parts for message in read_po(part.open("rb"), locale=ENGLISH)]
    translated = Counter(message.id for message in messages if message.id and message.string)
    in_the_code = texts_of_the_code()

    assert in_the_code - translated.keys() == set()
    assert translated.keys() - in_the_code == set()
    assert [text for text, times in translated.items() if times > 1] == []


def texts_of_the_api() -> set[str]:
    """Every text in the code, with {} for what is of the moment."""
    found = set[str]()
    for path in (path for pattern in SAY for path in CONSOLE.parents[1].glob(pattern)):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            found.add(text_of(node))
    return found - {""}


def text_of(node: ast.AST) -> str:
    """The text of an expression, with {} for what is of the moment; empty: it is none."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return VARIABLE.sub("{}", node.value) if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_every_error_that_has_an_english_is_one_that_the_api_says() -> None:
    catalogue = read_po((CONSOLE / "locales" / ENGLISH / ERRORS).open("rb"), locale=ENGLISH)
    known = {str(message.id): str(message.string) for message in catalogue if message.id}
    said_by_the_api = texts_of_the_api()
    written = {french: VARIABLE.sub("{}", french) for french in known}

    assert [
        french
        for french, text in written.items()
        if text not in said_by_the_api and text.removesuffix(" {}") not in said_by_the_api
    ] == []
    invented = {
        french: set(VARIABLE.findall(english)) - set(VARIABLE.findall(french)) for french, english in known.items()
    }
    assert [french for french, names in invented.items() if names] == []


def test_each_rule_of_costs_has_an_english() -> None:
    catalogue = read_po((CONSOLE / "locales" / ENGLISH / ERRORS).open("rb"), locale=ENGLISH)
    known = {VARIABLE.sub("{}", str(message.id)) for message in catalogue if message.id and message.string}
    rules = ast.parse((CONSOLE.parents[1] / "indicators" / "cost" / "checks.py").read_text("utf-8"))
    raised = [one.args[1] for one in ast.walk(rules) if isinstance(one, ast.Call) and len(one.args) == 2
              and isinstance(one.func, ast.Name) and one.func.id == "InvalidCost"]  # fmt: skip
    # A number's point is replaced by a comma.
    texts = [text_of(one.func.value if isinstance(one, ast.Call) else one) for one in raised]

    assert len(texts) == 13
    assert [text for text in texts if text not in known] == []


# What translates, and what reads a form: the names of fields are no texts.
TRANSLATE = {"gettext", "ngettext", "_", "said", "marked", "text", "texts"}
WORD = re.compile(r"[^\W\d_]{3,}")


Functions = dict[str, ast.AST]


def parts_of(node: ast.AST, functions: Functions, inside: ast.AST, seen: set[str]) -> list[ast.AST]:
    """Of what the text of an expression is made: what names stand for, what functions of its module return."""
    match node:
        case ast.Call(func=ast.Attribute(attr=name)) | ast.Call(func=ast.Name(id=name)) if name in TRANSLATE:
            return []
        case ast.Call(func=ast.Name(id=name)) if name in functions and name not in seen:
            seen.add(name)
            return [one.value for one in ast.walk(functions[name]) if isinstance(one, ast.Return) and one.value]
        case ast.Name(id=name) if name not in seen:
            seen.add(name)
            every = [one for one in ast.walk(inside) if isinstance(one, ast.Assign)]
            return [one.value for one in every if any(getattr(to, "id", "") == name for to in one.targets)]
        case ast.Subscript(value=value) | ast.Dict(values=value):  # What is looked up is no text.
            return value if isinstance(value, list) else [value]
        case _:
            return [*ast.iter_child_nodes(node)]


def untranslated(node: ast.AST, functions: Functions, inside: ast.AST, seen: set[str]) -> set[str]:
    """The words that an expression holds as they are, but for what it compares."""
    if isinstance(node, ast.Compare):
        return set()
    if isinstance(node, ast.Constant):
        return {node.value} if isinstance(node.value, str) and WORD.search(node.value) else set()
    called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
    within = functions.get(called, inside)
    found = [untranslated(one, functions, within, seen) for one in parts_of(node, functions, inside, seen)]
    return set[str]().union(*found)


def test_every_message_about_what_was_done_is_translated() -> None:
    left, looked_at = set[str](), 0
    for path in CONSOLE.glob("**/*.py"):
        module = ast.parse(path.read_text("utf-8"))
        functions: dict[str, ast.AST] = {
            one.name: one for one in ast.walk(module) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        for function in functions.values():
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "go" and len(call.args) > 1:
                    looked_at += 1
                    left |= untranslated(call.args[1], functions, function, set())

    assert left == set()
    assert looked_at > 50


def test_an_error_of_the_api_is_read_in_english_with_its_variable_parts() -> None:
    for french, english in {
        "champ obligatoire": "this field is required",
        "capteur 70b3d57ed0001234 introuvable": "there is no device 70b3d57ed0001234",
        "12 caractères au moins": "at least 12 characters",
        "mot de passe trop faible : 12 caractères au moins": "password too weak: at least 12 characters",
        "adresse de courrier attendue; champ inconnu": "e-mail address expected; unknown field",
        "Zoé <b> a plus de droits que vous": "Zoé <b> has more rights than you",
        "jamais traduit": "jamais traduit",
    }.items():
        assert said(ENGLISH, french) == english
        assert said(FRENCH, french) == french


def test_numbers_and_instants_are_written_as_each_language_does() -> None:
    french, english = Language(FRENCH, PARIS), Language(ENGLISH, PARIS)
    now = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)

    assert french.number(1234.5, 1) == "1\u202f234,5"
    assert english.number(1234.5, 1) == "1,234.5"
    assert french.number(None) == "—"
    # As Babel does, which takes ten times as long.
    for value in (0.0, -0.04, 999.95, -1234.5, 1_000_000, 5e8 + 0.125, 1e9, 1e22, float("nan")):
        for digits in range(4):
            pattern = f"#,##0.{'#' * digits}" if digits else "#,##0"
            for language in (french, english):
                expected = format_decimal(round(value, digits), pattern, language.code)
                assert language.number(value, digits) == expected, (value, digits)
    assert french.exact(now) == "27 novembre 2026 13:00:00"
    assert french.relative(now - timedelta(minutes=5), now) == "il y a 5 minutes"
    assert english.relative(now - timedelta(minutes=5), now) == "5 minutes ago"
    assert french.relative(now - timedelta(days=40), now) == "18 oct. 2026"
