"""typer's own words in French: its panels, usage lines and complaints about arguments.

All of its text goes through two things that can be replaced: `typer.rich_utils`' constants, and the highlighters
that colour every line of help, every type of a value and every message of an error.
"""

import inspect
import re

import typer
from rich.highlighter import RegexHighlighter
from rich.text import Text
from typer import rich_utils

CONSTANTS = {
    "ABORTED_TEXT": "Interrompu.",
    "ARGUMENTS_PANEL_TITLE": "Arguments",
    "COMMANDS_PANEL_TITLE": "Commandes",
    "DEFAULT_STRING": "[par défaut : {}]",
    "DEPRECATED_STRING": "(obsolète) ",
    "ENVVAR_STRING": "[variable : {}]",
    "ERRORS_PANEL_TITLE": "Erreur",
    "OPTIONS_PANEL_TITLE": "Options",
    "REQUIRED_LONG_STRING": "[obligatoire]",
    "RICH_HELP": "L'aide : [blue]{command_path} {help_option}[/]",
}

# Sentences of typer and, where a value is invalid, of pydantic; each is replaced wherever it stands in a text.
SENTENCES = [
    (re.compile(english), french)
    for english, french in (
        (r"^Usage: ", "Utilisation : "),
        (r"\[OPTIONS\] COMMAND \[ARGS\]\.\.\.$", "[OPTIONS] COMMANDE [ARGUMENTS]..."),
        (r"^Show this message and exit\.$", "Affiche cette aide."),
        (r"^Missing command\.$", "Il manque une commande."),
        (r"^No such command (.+?)\.(?= Did|$)", r"Il n'y a pas de commande \1."),
        (r"Did you mean (.+)\?$", r"Vouliez-vous dire \1 ?"),
        (r"^Missing argument(?: (.+?))?\.", r"Il manque l'argument \1."),
        (r"^Missing option(?: (.+?))?\.", r"Il manque l'option \1."),
        (r"^Missing parameter(?: (.+?))?\.", r"Il manque le paramètre \1."),
        (r"Choose from:\s*", "Au choix : "),
        (r"^No such option: (\S+)", r"Il n'y a pas d'option \1"),
        (r"\(Possible options: (.+)\)$", r"(possibles : \1)"),
        (r"^Option (.+) requires an argument\.$", r"L'option \1 attend une valeur."),
        (r"^Option (.+) requires (\d+) arguments\.$", r"L'option \1 attend \2 valeurs."),
        (r"^Option (.+) does not take a value\.$", r"L'option \1 ne prend pas de valeur."),
        (r"^Argument (.+) takes (\d+) values\.$", r"L'argument \1 prend \2 valeurs."),
        (r"^Got unexpected extra argument\(s\) \((.+)\)$", r"Argument en trop : \1"),
        (r"\(env var: (.+?)\)", r"(variable \1)"),
        (r"^Invalid value for (.+?): ", r"Valeur refusée pour \1 : "),
        (r"^Invalid value: ", "Valeur refusée : "),
        (r"Input should be a valid integer, unable to parse string as an integer", "un nombre entier est attendu"),
        (r"Input should be a valid integer, got a number with a fractional part", "un nombre entier est attendu"),
        (r"Input should be a valid number, unable to parse string as a number", "un nombre est attendu"),
        (r"Input should be a finite number", "un nombre fini est attendu"),
        (r"Input should be a valid boolean, unable to interpret input", "oui ou non est attendu (true, false)"),
        (r"Input should be greater than or equal to (\S+)", r"au moins \1"),
        (r"Input should be less than or equal to (\S+)", r"au plus \1"),
        (r"Input should be a valid datetime.*", "une date est attendue, comme 2026-11-27T08:30:00+01:00"),
        (r"(?:Value error, )?(\S+) is not one of (.+)\.$", r"\1 n'est pas parmi \2"),
        (r"(?:Value error, )?(\S+) does not match the formats (.+)\.$", r"\1 n'a pas la forme \2"),
        (r"(?i:path|file|directory) (.+) does not exist\.$", r"\1 n'existe pas"),
        (r"(?i:path|file|directory) (.+) is a file\.$", r"\1 est un fichier"),
        (r"(?i:path|file|directory) (.+) is a directory\.$", r"\1 est un dossier"),
        (r"(?i:path|file|directory) (.+) is not readable\.$", r"\1 n'est pas lisible"),
        (r"(?i:path|file|directory) (.+) is not writable\.$", r"\1 n'est pas modifiable"),
        (r"^<bool>", ""),
        (r"^<(?:int|int range)>", "<entier>"),
        (r"^<(?:float|float range)>", "<nombre>"),
        (r"^<str>", "<texte>"),
        (r"^<path>", "<chemin>"),
        (r"^<list\[Path\]>", "<chemin>"),
        (r"^<list\[str\]>", "<texte>"),
        (r"^<list\[int\]>", "<entier>"),
        (r"^<file>", "<fichier>"),
        (r"^<dir>", "<dossier>"),
        (r"^<datetime>", "<date>"),
    )
]


def join_lines(commands: typer.Typer) -> None:
    """Make each paragraph of a command's help one line, which a terminal breaks where it ends.

    typer does so for the first paragraph alone.
    """
    for command in commands.registered_commands:
        written = inspect.cleandoc(command.help or (command.callback and command.callback.__doc__) or "")
        command.help = "\n\n".join(paragraph.replace("\n", " ") for paragraph in written.split("\n\n"))
    for group in commands.registered_groups:
        if group.typer_instance is not None:
            join_lines(group.typer_instance)


def in_french(text: str) -> str:
    """The text with typer's sentences in French; what is not one of them stays as it is."""
    for english, french in SENTENCES:
        text = english.sub(french, text)
    return text


class _Translating(RegexHighlighter):
    """Translates before it colours; help comes with its style, usage lines and errors as plain text."""

    def __call__(self, text: str | Text) -> Text:
        """The text in French, with its style."""
        plain, style = (text, "") if isinstance(text, str) else (text.plain, text.style)
        french = in_french(plain)
        same = isinstance(text, Text) and french == plain  # With the styles of its parts, then.
        return super().__call__(text if same else Text(french, style=style))


class Options(_Translating, rich_utils.OptionHighlighter):
    """Sentences, and the options in them."""

    highlights = [*rich_utils.OptionHighlighter.highlights, r"(?P<usage>Utilisation : )"]  # noqa: RUF012


class Types(_Translating, rich_utils.TypesHighlighter):
    """What kind of value an option takes."""


def speak_french() -> None:
    """For the life of this process."""
    for name, words in CONSTANTS.items():
        setattr(rich_utils, name, words)
    rich_utils.highlighter, rich_utils.types_highlighter = Options(), Types()
