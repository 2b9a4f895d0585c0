"""Links within the repository's pages lead somewhere, and the README stays short."""

import re
import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "results").rglob("*.md")])
FENCE = re.compile(r"^ *(`{3,}|~{3,}).*?^ *\1[`~]*\s*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)")
LINK = re.compile(r"\]\(<?([^()\s<>]+(?:\([^()]*\)[^()\s<>]*)*)>?(?:\s+\"[^\"]*\")?\)")
# What GitHub keeps of a heading besides letters and digits.
KEPT = {" ", "-", "_"}


def prose(markdown: str) -> str:
    """A text without its fenced blocks."""
    return FENCE.sub("", markdown)


def targets(markdown: str) -> list[str]:
    """Where the links and pictures of a text lead, in order."""
    return LINK.findall(CODE.sub("", prose(markdown)))


def anchors(markdown: str) -> set[str]:
    """The anchors that GitHub makes of a text's headings."""
    found: Counter[str] = Counter()
    names = set()
    for heading in re.findall(r"^#{1,6} +(.+?)(?: +#+)?$", prose(markdown), re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
        kept = [c for c in shown.lower() if c in KEPT or unicodedata.category(c)[0] in "LNM"]
        name = "".join(kept).strip().replace(" ", "-")
        names.add(f"{name}-{found[name]}" if found[name] else name)
        found[name] += 1
    return names


@cache
def anchors_of(page: Path) -> set[str]:
    """The anchors of a page, which many others may link to."""
    return anchors(page.read_text(encoding="utf-8"))


def broken(page: Path, markdown: str) -> list[str]:
    """The links of a text that lead nowhere, as they stand there."""
    bad = []
    for target in targets(markdown):
        if re.match(r"[a-z][a-z+.-]*:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        missing = not file.exists() or not file.is_relative_to(ROOT)
        if missing or (anchor and file.suffix == ".md" and anchor not in anchors_of(file)):
            bad.append(target)
    return bad


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert not broken(page, page.read_text(encoding="utf-8"))


def test_every_page_of_the_docs_is_linked_from_the_readme() -> None:
    found = {target.partition("#")[0] for target in targets((ROOT / "README.md").read_text(encoding="utf-8"))}
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    # The evidence is linked from the page that it stands behind; the index is the start of the site.
    assert pages - found <= {"docs/label-noise-evidence.md", "docs/index.md"}


def test_the_readme_has_at_most_700_words() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) <= 700
    assert "make demo" in text
    assert "make test" in text


def test_what_is_wrong_is_found() -> None:
    page = ROOT / "README.md"
    assert broken(page, "[a](nowhere.md) ![b](docs/using.md#nothing) [c](../outside.md) [d](#nothing)") == [
        "nowhere.md", "docs/using.md#nothing", "../outside.md", "#nothing",
    ]  # fmt: skip
    assert not broken(page, "[a](docs/using.md#without-lossmith) [b](https://example.org/x.md#y) `[c](none.md)`")
    assert not broken(page, "```text\n[a](nowhere.md)\n```\n")
    assert broken(page, "```text\n```\n[a](nowhere.md)\n") == ["nowhere.md"]


def test_anchors_are_those_of_github() -> None:
    text = "# A `code` & *more*\n## It's 1.5: [x](y.md)\n## Same\n## Same\n```python\n# no heading\n```\n"
    assert anchors(text) == {"a-code--more", "its-15-x", "same", "same-1"}
