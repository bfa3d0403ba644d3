"""JavaScript literals as values: catalogues keep examples in files that are JSON only in name.

Read are objects with any keys, arrays, all three quotes, numbers in every base, comments, trailing commas,
`undefined`, `NaN`, texts joined by +, `new Date(...)` and `Buffer.from(...)`. What JSON cannot say becomes what
JSON.stringify makes of it. A library of JSON5 reads less, and loses a whole file to one bad example.
"""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, cast

DEEPEST = 100
MOST_DIGITS = 300
_BLANK = re.compile(r"(?:\s|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_NUMBER = re.compile(r"0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_NAME = re.compile(r"[A-Za-z_$][\w$]*")
_CALL = re.compile(r"new\s+Date\s*\(|Buffer\.from\s*\(|new\s+Buffer\s*\(")
_TEXT = re.compile(r"""(["'`])(?:\\.|(?!\1).)*\1""", re.DOTALL)
_OPENING = re.compile(r"\s*(?:export\s+default|module\.exports\s*=|(?:var|let|const)\s+[\w$]+\s*=)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0", "\n": ""}
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None, "NaN": None, "Infinity": None}
_SHOWN = 30


class InvalidLiteral(ValueError):
    """Text that is no literal; the message, in French, says where."""


class Element(NamedTuple):
    """One element of a list: its value, or what is wrong with it."""

    value: Any
    wrong: str


class _Undefined:
    """What JavaScript knows and JSON does not."""


_UNDEFINED = _Undefined()


def read(text: str) -> Any:
    """The value of a literal. Raises InvalidLiteral."""
    reader = _Reader(text)
    value = reader.whole()
    return None if isinstance(value, _Undefined) else value


def read_elements(text: str) -> list[Element]:
    """The elements of a list, each on its own: one that cannot be read costs no other. Raises InvalidLiteral."""
    return _Reader(text).elements()


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        opening = _OPENING.match(text)
        self.at = opening.end() if opening else 0

    def whole(self) -> Any:
        value = self.value(0)
        self.blank()
        if self.text[self.at :].strip(" \t\r\n;"):
            raise self.wrong("attendu la fin")
        return value

    def elements(self) -> list[Element]:
        self.blank()
        self.expect("[")
        found: list[Element] = []
        while True:
            self.blank()
            if self.peek() == "]":
                return found
            start = self.at
            try:
                value = self.value(1)
                self.blank()
                if self.peek() not in (",", "]"):
                    raise self.wrong("attendu , ou ]")
                found.append(Element(None if isinstance(value, _Undefined) else value, ""))
            except InvalidLiteral as wrong:
                found.append(Element(None, str(wrong)))
                self.at = start
                self.pass_over()
            if self.peek() == ",":
                self.at += 1

    def pass_over(self) -> None:
        """To the comma or the bracket after this element, whatever is in it."""
        depth = 0
        while self.at < len(self.text):
            self.blank()
            mark = self.peek()
            if text := _TEXT.match(self.text, self.at):
                self.at = text.end()
                continue
            if depth == 0 and mark in (",", "]"):
                return
            depth += (mark in ("[", "{", "(")) - (mark in ("]", "}", ")"))
            self.at += 1
        raise self.wrong("crochet non fermé")

    def value(self, depth: int) -> Any:
        if depth > DEEPEST:
            raise self.wrong("trop profond")
        value = self.single(depth)
        while isinstance(value, str):
            self.blank()
            if self.peek() != "+":
                break
            self.at += 1
            more = self.single(depth)
            if not isinstance(more, str):
                raise self.wrong("attendu un texte")
            value += more
        return value

    def single(self, depth: int) -> Any:
        self.blank()
        mark = self.peek()
        call = _CALL.match(self.text, self.at)
        if mark == "{":
            value: Any = self.object(depth)
        elif mark == "[":
            value = self.array(depth)
        elif mark == "(":
            self.at += 1
            value = self.value(depth + 1)
            self.blank()
            self.expect(")")
        elif mark and mark in "\"'`":
            value = self.string()
        elif mark and mark in "-+.0123456789":
            value = self.number()
        else:
            value = self.word() if call is None else self.call(call, depth)
        return value

    def object(self, depth: int) -> dict[str, Any]:
        self.at += 1
        members: dict[str, Any] = {}
        while True:
            self.blank()
            if self.peek() == "}":
                self.at += 1
                return members
            key = self.key()
            self.blank()
            self.expect(":")
            value = self.value(depth + 1)
            if not isinstance(value, _Undefined):
                members[key] = value
            self.blank()
            if self.peek() != "}":
                self.expect(",")

    def key(self) -> str:
        mark = self.peek()
        if mark and mark in "\"'":
            return self.string()
        if name := _NAME.match(self.text, self.at):
            self.at = name.end()
            return name[0]
        number = self.number()
        if number is None:
            raise self.wrong("attendu un nom")
        return str(int(number)) if number == int(number) else str(number)

    def array(self, depth: int) -> list[Any]:
        self.at += 1
        values: list[Any] = []
        while True:
            self.blank()
            if self.peek() == "]":
                self.at += 1
                return values
            value = self.value(depth + 1)
            values.append(None if isinstance(value, _Undefined) else value)
            self.blank()
            if self.peek() != "]":
                self.expect(",")

    def string(self) -> str:
        quote, parts = self.text[self.at], list[str]()
        self.at += 1
        while self.peek() != quote:
            character = self.peek()
            if not character or (character == "\n" and quote != "`"):
                raise self.wrong("texte non fermé")
            if quote == "`" and self.text.startswith("${", self.at):
                raise self.wrong("texte calculé")
            self.at += 1
            parts.append(self.escape() if character == "\\" else character)
        self.at += 1
        # Two halves of a character, each escaped, are one; a half alone is none.
        return "".join(parts).encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def escape(self) -> str:
        mark = self.peek()
        self.at += 1
        if mark not in ("x", "u"):
            return _ESCAPES.get(mark, mark)
        code = re.compile(r"\{([0-9a-fA-F]{1,6})\}|([0-9a-fA-F]{4})").match(self.text, self.at)
        if mark == "x":
            code = re.compile(r"(?:)([0-9a-fA-F]{2})()").match(self.text, self.at)
        number = int(code[1] or code[2], 16) if code else -1
        if code is None or number > 0x10FFFF:  # noqa: PLR2004 - The last character of Unicode.
            raise self.wrong("échappement inconnu")
        self.at = code.end()
        return chr(number)

    def number(self) -> int | float | None:
        sign = 1
        while self.peek() in ("-", "+"):
            sign = -sign if self.peek() == "-" else sign
            self.at += 1
            self.blank()
        if self.text.startswith("Infinity", self.at):
            self.at += len("Infinity")
            return None
        number = _NUMBER.match(self.text, self.at)
        if number is None:
            raise self.wrong("attendu un nombre")
        digits = number[0].replace("_", "")
        if len(digits) > MOST_DIGITS:
            raise self.wrong("nombre trop long")
        self.at = number.end()
        if digits[1:2] in ("x", "X", "b", "B", "o", "O"):
            return sign * int(digits, 0)
        value = int(digits) if digits.isdecimal() else float(digits)
        return sign * value if math.isfinite(value) else None

    def call(self, call: re.Match[str], depth: int) -> Any:
        self.at = call.end()
        arguments: list[Any] = []
        while True:
            self.blank()
            if self.peek() == ")":
                self.at += 1
                break
            arguments.append(self.value(depth + 1))
            self.blank()
            if self.peek() != ")":
                self.expect(",")
        made = _date(arguments) if "Date" in call[0] else _octets(arguments)
        if made is None:
            raise self.wrong(f"{call[0]}...) inconnu")
        return made

    def word(self) -> Any:
        word = _NAME.match(self.text, self.at)
        if word is not None and word[0] in ("undefined", *_WORDS):
            self.at = word.end()
            return _WORDS.get(word[0], _UNDEFINED) if word[0] != "undefined" else _UNDEFINED
        raise self.wrong("attendu une valeur")

    def blank(self) -> None:
        blank = _BLANK.match(self.text, self.at)
        self.at = blank.end() if blank else self.at

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def expect(self, mark: str) -> None:
        if self.peek() != mark:
            raise self.wrong(f"attendu {mark}")
        self.at += 1

    def wrong(self, what: str) -> InvalidLiteral:
        line = self.text.count("\n", 0, self.at) + 1
        shown = " ".join(self.text[self.at : self.at + _SHOWN].split())
        return InvalidLiteral(f"ligne {line} : {what}, trouvé {shown!r}")


def _date(arguments: list[Any]) -> str | None:
    """What JSON.stringify makes of a Date; None when it depends on the machine."""
    try:
        match arguments:
            case [str(text)]:
                date = datetime.fromisoformat(text)
                date = date if date.tzinfo else date.replace(tzinfo=UTC)
            case [int() | float() as milliseconds]:
                date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
            case _:
                return None
    except (ValueError, OverflowError):
        return None
    return date.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _octets(arguments: list[Any]) -> list[Any] | None:
    match arguments:
        case [list()]:
            return cast("list[Any]", arguments[0])
        case [str(text), "hex"]:
            try:
                return list(bytes.fromhex(text))
            except ValueError:
                return None
        case _:
            return None
