"""HTML that is made of elements: whatever is not one is text, and is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TypeAlias

from lossmith.errors import printable


class Html(str):
    """Markup that was made by :func:`element`, and stands as it is."""

    __slots__ = ()


Child: TypeAlias = "str | float | Iterable[Child] | None"


def element(name: str, *children: Child, **attributes: str | float | bool | None) -> Html:
    """An element of HTML or SVG.

    Args:
        name: Its tag.
        children: Elements, texts and numbers, and lists of these; None is left out.
        attributes: ``class_`` is ``class``, ``data_name`` is ``data-name``; what is None or False is left out.

    Example:
        >>> element("p", "1 < 2", element("b", "!"), class_="note")
        '<p class="note">1 &lt; 2<b>!</b></p>'
    """
    given = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escaped(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Html(f"<{name}{given}>{joined(children)}</{name}>")


def named_rows(title: str, rows: Iterable[tuple[str, Child]]) -> Html:
    """A table of names and values under a title."""
    lines = [element("tr", element("th", name, scope="row"), element("td", value)) for name, value in rows]
    return element("table", element("caption", title), element("tbody", lines))


def joined(children: Iterable[Child]) -> Html:
    """Elements and texts one after the other."""
    return Html("".join(_written(child) for child in children))


def escaped(value: object) -> str:
    """A text without any markup, and without what moves a cursor or turns the direction of writing."""
    return html.escape(printable(str(value), "\n\t"))


def _written(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, str | float | int):
        return escaped(child)
    return joined(child)
