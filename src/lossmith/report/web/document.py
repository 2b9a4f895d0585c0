"""One page that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from lossmith.markup import Html, element, joined

NAME = re.compile(r"[a-z][a-z0-9-]*")
# What would end the element that data or code stands in, or begin another one.
ESCAPES = {"<": r"\u003c", ">": r"\u003e", "&": r"\u0026", "\u2028": r"\u2028", "\u2029": r"\u2029"}


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Args:
        name: Its id: small letters, digits and hyphens.
        title: Its heading, as text.
        html: What follows the heading.
        styles: CSS.
        script: JavaScript that sees ``root``, the element of the section, and ``data``.
        data: What it is given, a value of JSON; None for nothing.
    """

    name: str
    title: str
    html: str
    styles: str = ""
    script: str = ""
    data: Any = None


def document(title: str, sections: Sequence[Section], *, summary: str = "") -> str:
    """A whole page of HTML that loads nothing and runs no other script than its own.

    Args:
        title: What it is called, as text.
        sections: Its parts.
        summary: HTML that stands below the title.

    Raises:
        ValueError: if two sections have one name, or code would end the element that it stands in.
    """
    names = [section.name for section in sections]
    if len(set(names)) < len(names) or not all(map(NAME.fullmatch, names)):
        raise ValueError(f"sections need names of their own, of small letters: {names}")
    scripts = [asset("uplot.js"), asset("page.js"), asset("chart.js"), *(_called(one) for one in sections)]
    scripts = [script for script in scripts if script]
    styles = "\n".join([asset("page.css"), asset("uplot.css"), *(one.styles for one in sections)])
    if "</style" in styles.lower():
        raise ValueError("a style would end its element")
    head = joined(
        [
            Html('<meta charset="utf-8">'),
            Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Html(f'<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">'),
            Html('<meta name="color-scheme" content="light dark">'),
            Html('<meta name="referrer" content="no-referrer">'),
            element("title", title),
            Html(f"<style>{styles}</style>"),
        ]
    )
    links = [element("li", element("a", section.title, href=f"#{section.name}")) for section in sections]
    body = joined(
        [
            element("a", "Skip to the content", href="#content", class_="skip"),
            element("header", element("h1", title), Html(summary)),
            element("nav", element("ul", links), aria_label="Sections"),
            element("main", [_section(one) for one in sections], id="content", tabindex=-1),
            element("footer", element("details", element("summary", "Licenses"), element("pre", _licenses()))),
            [Html(f"<script>{script}</script>") for script in scripts],
        ]
    )
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n<body>{body}</body>\n</html>\n'


@cache
def asset(name: str) -> str:
    """The text of a file beside this module."""
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def embedded(data: Any) -> str:
    """A value as JSON that can stand inside of an element of HTML; null where a number is not finite."""
    try:
        text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    except ValueError:
        text = json.dumps(_finite(data), allow_nan=False, separators=(",", ":"))
    return "".join(ESCAPES.get(character, character) for character in text)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _section(section: Section) -> Html:
    data = None
    if section.data is not None:
        data = Html(f'<script type="application/json" id="data-{section.name}">{embedded(section.data)}</script>')
    return element("section", element("h2", section.title), Html(section.html), data, id=section.name)


def _called(section: Section) -> str:
    """The script of a section as a call of its own."""
    if not section.script:
        return ""
    data = "null" if section.data is None else f'JSON.parse(document.getElementById("data-{section.name}").textContent)'
    return f'((root, data) => {{\n{section.script}\n}})(document.getElementById("{section.name}"), {data});'


def _policy(scripts: Sequence[str]) -> str:
    """Nothing is loaded, and no script runs but those that stand in the page by its own doing."""
    if any(re.search(r"</script|<!--", script, re.IGNORECASE) for script in scripts):
        raise ValueError("a script would end its element")
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    rest = "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    return f"default-src 'none'; script-src {allowed}; {rest}"


def _licenses() -> str:
    return f"Charts are drawn by uPlot.\n\n{asset('uplot.LICENSE')}"
