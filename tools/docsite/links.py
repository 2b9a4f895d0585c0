"""Links of the repository's Markdown pages, as links of the site.

A page such as ``docs/theory.md`` is read on a code host, too, so it links to ``../src`` and ``../results``, which are
outside of the site. Here each of these gets a page of the site: Markdown as it is, text as a listing, a folder as a
list of its files. What is no text is given as it is.
"""

import ast
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

DOCS, EXAMPLES, REPOSITORY = "docs", "examples", "repository"
# The folders of pages that are written by hand.
WRITTEN = (DOCS, f"{DOCS}/gallery", f"{DOCS}/reference")
# In the table of contents, whoever links to them.
ALWAYS = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
# Longer files are not shown, but can be saved.
MOST_BYTES = 200_000
LANGUAGES = {
    ".py": "python",
    ".toml": "toml",
    ".json": "json",
    ".yml": "yaml",
    ".cpp": "cpp",
    ".sh": "bash",
}
FENCE = re.compile(r"\s*(?P<fence>`{3,}|~{3,})")
CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
LINK = re.compile(r"(?P<before>!?\[(?:[^\[\]]|\[[^\[\]]*\](?:\([^()]*\))?)*\]\()(?P<target>[^()\s]+)(?P<after>\))")
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def prose(text: str) -> Iterator[tuple[str, bool]]:
    """The lines of a Markdown text, and whether each is prose and not part of a fenced block."""
    fence = ""
    for line in text.splitlines(keepends=True):
        found = FENCE.match(line)
        if fence:
            yield line, False
            if found and found["fence"].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        elif found:
            fence = found["fence"]
            yield line, False
        else:
            yield line, True


def with_targets(text: str, change: Callable[[str], str]) -> str:
    """A Markdown text with other targets of its links and images; code stays as it is.

    Args:
        text: The text.
        change: Gives a target for a target.
    """

    def changed(line: str) -> str:
        code = [match.span() for match in CODE.finditer(line)]

        def one(link: re.Match[str]) -> str:
            start = link.start()
            if any(first <= start < last for first, last in code):
                return link[0]
            before = link["before"]
            # A picture may stand in a link.
            inner = LINK.sub(one, before[1:]) if before.startswith("[!") else before[1:]
            return before[0] + inner + change(link["target"]) + link["after"]

        return LINK.sub(one, line)

    return "".join(changed(line) if is_prose else line for line, is_prose in prose(text))


class Repository:
    """The files of a repository, and where each stands in the site.

    Args:
        root: The repository's folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def target(self, page: str, target: str) -> str:
        """A link's target in the site; what leads nowhere stays, so that the build complains.

        Args:
            page: The page's path in the repository.
            target: What its link says.
        """
        path = self.path(page, target)
        if path is None:
            return target
        anchor = target.partition("#")[2]
        return self.place(path) + (f"#{anchor}" if anchor else "")

    def path(self, page: str, target: str) -> str | None:
        """The path in the repository that a link leads to; None for an address, an anchor, or nothing."""
        name = target.partition("#")[0]
        if not name or ADDRESS.match(target) or target.startswith("/"):
            return None
        path = os.path.normpath(os.path.join(os.path.dirname(page), name))  # noqa: PTH118, PTH120
        inside = not path.startswith("..") and path != "."
        return path if inside and (self.root / path).exists() else None

    def place(self, path: str) -> str:
        """Where a file or folder of the repository stands in the site, as a target from the site's top."""
        first, _, rest = path.partition("/")
        if first == DOCS:
            return f"/{rest}" if rest else "/index.md"
        if first == EXAMPLES and (not rest or rest.endswith(".py")):
            return f"/examples/{Path(rest).stem or 'index'}.rst"
        if (self.root / path).is_dir():
            return f"/{REPOSITORY}/{path}/index.md"
        if path.endswith(".md"):
            return f"/{REPOSITORY}/{path}"
        return f"/{REPOSITORY}/{path}.md" if self.is_text(path) else f"/../{path}"

    def is_text(self, path: str) -> bool:
        """Whether a file can be shown: it is text and not too long."""
        file = self.root / path
        if file.stat().st_size > MOST_BYTES:
            return False
        try:
            return "\0" not in file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return False

    def changed(self, page: str, text: str) -> str:
        """The text of a page for the site."""
        return with_targets(text, lambda target: self.target(page, target))

    def linked(self, page: str, text: str) -> Iterator[str]:
        """The paths in the repository that a page links to."""
        found: list[str] = []

        def note(target: str) -> str:
            found.append(target)
            return target

        with_targets(text, note)
        for target in found:
            path = self.path(page, target)
            if path is not None:
                yield path

    def written(self) -> list[str]:
        """The pages of the documentation that are files of the repository."""
        found = [path for folder in WRITTEN for path in sorted((self.root / folder).glob("*.md"))]
        return [path.relative_to(self.root).as_posix() for path in found]

    def pages(self, before: Callable[[str, str], str] = lambda _, text: text) -> dict[str, str]:
        """The pages that the site needs for all that is linked, by their paths in it.

        Args:
            before: What the text of a page, given by its path, becomes before its links are looked at.
        """
        waiting = [
            path
            for page in self.written()
            for path in self.linked(page, before(page, (self.root / page).read_text(encoding="utf-8")))
        ]
        waiting += list(ALWAYS)
        made: dict[str, str] = {}
        while waiting:
            path = waiting.pop()
            place = self.place(path).removeprefix("/")
            if place in made or not place.startswith(f"{REPOSITORY}/"):
                continue
            if (self.root / path).is_dir():
                made[place] = self._folder(path)
            elif path.endswith(".md"):
                text = before(path, (self.root / path).read_text(encoding="utf-8"))
                waiting.extend(self.linked(path, text))
                made[place] = _orphan(self.changed(path, text))
            else:
                made[place] = _orphan(self._listing(path))
            if (self.root / path).is_dir():
                waiting.extend(self._files(path))
        return made

    def _files(self, folder: str) -> list[str]:
        names = (path.relative_to(self.root).as_posix() for path in sorted((self.root / folder).iterdir()))
        return [name for name in names if (self.root / name).is_file() and self.is_text(name)]

    def _listing(self, path: str) -> str:
        """The page of a text; of tests, each class and function has a heading, which links can lead to."""
        language = LANGUAGES.get(Path(path).suffix, "text")
        listing = f"```{{literalinclude}} /../{path}\n:language: {language}\n"
        if not re.fullmatch(r"tests/test_\w+\.py", path):
            return f"# {path}\n\n{listing}```\n"
        page = f"# {path}\n"
        for name, first, last in parts((self.root / path).read_text(encoding="utf-8")):
            heading = f"\n## {name}\n" if name else ""
            page += f"{heading}\n{listing}:lines: {first}-{last}\n:lineno-match:\n```\n"
        return page

    def _folder(self, path: str) -> str:
        files = "".join(f"- [`{Path(name).name}`]({self.place(name)})\n" for name in self._files(path))
        return _orphan(f"# {path}\n\n{files}")


def _orphan(text: str) -> str:
    """A page that stands in no list of contents."""
    return f"---\norphan: true\n---\n\n{text}"


def parts(source: str) -> Iterator[tuple[str, int, int]]:
    """The classes and functions at the top of a Python module: name, first and last line; ``""`` is what precedes."""
    last = 0
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if last == 0 and first > 1:
                yield "", 1, first - 1
            last = node.end_lineno or first
            yield node.name, first, last


def write(folder: Path, pages: dict[str, str]) -> None:
    """Write pages under a folder; what is there already stays untouched, so that it is not built again.

    Args:
        folder: The site's source.
        pages: Texts by path.
    """
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
