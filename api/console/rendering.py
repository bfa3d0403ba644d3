"""Templates: found in the folder of their page, filled in the visitor's language, escaped by default."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from alerting.wording import unit_label
from api.console.files import address_of, has_libraries, icon
from api.console.language import NAMES, Language, translations_of
from api.console.navigation import nearest
from api.console.said import said
from api.console.wording import STATES, kind_name

HERE = Path(__file__).parent


@cache
def _environment(code: str) -> Environment:
    """One for each language: what is translated is translated when the template is compiled."""
    environment = Environment(
        loader=FileSystemLoader([HERE / "templates", HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
        auto_reload=False,
    )
    given: dict[str, Any] = environment.globals
    given.update(file=address_of, icon=_icon, has_libraries=has_libraries, languages=NAMES, nearest=nearest)
    given.update(kind_name=kind_name, states=STATES, state_names=STATES)
    filters: dict[str, Any] = environment.filters
    filters.update(chosen_query=_chosen_query, number=_number, ago=_ago, said=partial(said, code), unit=unit_label)
    install: Any = getattr(environment, "install_gettext_translations")  # noqa: B009 - Added by the extension.
    install(translations_of(code), newstyle=True)
    return environment


def _chosen_query(named: Mapping[str, object]) -> str:
    """As the part of an address behind `?`, without what is not chosen."""
    return urlencode({name: value for name, value in named.items() if value})


def _icon(name: str) -> Markup:
    return Markup(icon(name))  # noqa: S704 - A file of a library, fetched by its digest.


@pass_context
def _number(context: Context, value: float | None, digits: int = 0) -> str:
    language: Language = context["language"]
    return language.number(value, digits)


@pass_context
def _ago(context: Context, instant: datetime | None) -> Markup | str:
    """How long ago, with the instant for who points at it."""
    language: Language = context["language"]
    if instant is None:
        return "—"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        instant.isoformat(), language.exact(instant), language.relative(instant, context["now"])
    )


def render(template: str, language: Language, content: Mapping[str, Any]) -> str:
    """The page `template`, a path below this package or below `templates`."""
    return _environment(language.code).get_template(template).render(content)


def render_beginning(template: str, language: Language, content: Mapping[str, Any], until: str) -> str:
    """The same page up to a text of it; what it shows after that need not be known yet."""
    pieces: list[str] = []
    for piece in _environment(language.code).get_template(template).generate(content):
        pieces.append(piece)
        if until in piece:
            break
    # Joined, which escapes nothing: some of them are Markup, which does when it is added to a text.
    return "".join(pieces).partition(until)[0]
