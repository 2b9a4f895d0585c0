"""Checks of the site that was built: ``python -m docsite.check FOLDER``.

No page loads anything from another host, every link within the site leads to a page and an anchor that are there, and
each exported name and each flag of a command has its place.
"""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from docsite import commands, reference
from lossmith.cli import COMMANDS

# What a browser fetches without being asked, by element.
LOADING = {
    "audio": "src",
    "embed": "src",
    "iframe": "src",
    "img": "src",
    "input": "src",
    "link": "href",
    "object": "data",
    "script": "src",
    "source": "src",
    "track": "src",
    "video": "src",
}
# Of these, a link only tells a relation.
TOLD = {"next", "prev", "search", "index", "author", "canonical"}
STYLE = re.compile(r"""(?:url\(\s*|@import\s+)["']?(?:https?:)?//[^)"'\s]+""")


class Page(HTMLParser):
    """What a page loads, where it links to, and its anchors.

    Args:
        text: The page.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads, self.links, self.anchors, self.style = list[str](), list[str](), set[str](), False
        self.foreign_styles = list[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        self.style = tag == "style"
        self.foreign_styles += STYLE.findall(given.get("style", ""))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if (attribute := LOADING.get(tag)) and attribute in given:
            self.loads += [] if tag == "link" and given.get("rel") in TOLD else [given[attribute]]
        self.loads += [part.split()[0] for part in given.get("srcset", "").split(",") if part.strip()]

    def handle_data(self, data: str) -> None:
        """Look at a style sheet within the page."""
        if self.style:
            self.foreign_styles += STYLE.findall(data)


def foreign(page: Page) -> list[str]:
    """What a page loads from another host."""
    return [url for url in page.loads if urlsplit(url).netloc] + page.foreign_styles


def broken(place: Path, page: Page, pages: dict[Path, Page]) -> Iterator[str]:
    """The links and files of a page that are not there.

    Args:
        place: The page's file.
        page: The page.
        pages: All pages by their files.
    """
    for link in [*page.links, *page.loads]:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (place.parent / unquote(parts.path)).resolve() if parts.path else place
        if not target.is_file():
            yield f"{link} leads to no file"
        elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
            yield f"{link} leads to no anchor"


def complaints(folder: Path) -> list[str]:
    """All that is wrong with a site, a line each."""
    folder = folder.resolve()
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    found = list[str]()
    for place, page in pages.items():
        name = place.relative_to(folder)
        found += [f"{name} loads {url} from another host" for url in foreign(page)]
        found += [f"{name}: {words}" for words in broken(place, page, pages)]
    for path in sorted(folder.rglob("*.css")):
        sheets = STYLE.findall(path.read_text(encoding="utf-8"))
        found += [f"{path.relative_to(folder)} loads {words} from another host" for words in sheets]
    return found


def missing(folder: Path) -> list[str]:
    """The exported names and flags that have no place in the site, a line each."""
    found = list[str]()
    for name, described in reference.all_described().items():
        package = max((one for one in reference.PACKAGES if described.startswith(f"{one}.")), key=len)
        if described not in _anchors(folder / "reference" / "python" / f"{package}.html"):
            found.append(f"{name} has no place in the reference")
    for command in COMMANDS:
        anchors = _anchors(folder / "reference" / "commands" / f"{command}.html")
        flags = (flag for group in commands.groups(commands.help_of(command)) for flag in group.flags)
        found += [f"{command} {flag} has no place" for flag in flags if commands.anchor(command, flag) not in anchors]
    return found


def _anchors(path: Path) -> set[str]:
    return Page(path.read_text(encoding="utf-8")).anchors


def main() -> None:
    """Check the folder that is named, and end with 1 if something is wrong."""
    folder = Path(sys.argv[1])
    wrong = [*complaints(folder), *missing(folder)]
    count = len(list(folder.rglob("*.html")))
    sys.stdout.write("".join(f"{line}\n" for line in wrong) + f"{count} pages, {len(wrong)} faults\n")
    if wrong or not count:
        sys.exit(1)


if __name__ == "__main__":
    main()
