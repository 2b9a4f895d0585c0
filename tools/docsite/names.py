"""Inline code of a page as links: names of lossmith to the reference, tests to their text, commands to their flags."""

import re
from collections.abc import Mapping
from pathlib import Path

from docsite.links import LINK, prose

CODE = re.compile(r"(?<!`)`(?P<code>[^`\n]+)`(?!`)")
TEST = re.compile(r"(?P<file>test_\w+\.py)(?:::(?P<name>\w+)(?:::\w+)?)?|(?P<alone>Test\w+)(?:::\w+)?")
COMMAND = re.compile(r"lossmith (?P<name>[a-z]+)\b.*")
# In the index of the paper, short names of this column are of the symbolic derivations, and all others of the theory.
INDEX, DERIVED = "docs/paper.md", "derived in"
SHORT = {"docs/paper.md": "lossmith.theory", "docs/theory.md": "lossmith.theory"}
SYMBOLIC = "lossmith.theory.symbolic"


class Names:
    """What inline code may stand for.

    Args:
        described: Where each exported name is described, by its full name.
        commands: The commands.
        tests: The folder of the tests.
    """

    def __init__(self, described: Mapping[str, str], commands: Mapping[str, str], tests: Path) -> None:
        self.described, self.commands, self.tests = described, commands, tests

    def linked(self, page: str, text: str) -> str:
        """The text of a page with its inline code linked; headings and what is a link already stay.

        Args:
            page: The page's path in the repository.
            text: Its text.
        """
        lines, columns = list[str](), list[str]()
        for line, is_prose in prose(text):
            if not line.startswith("|"):
                columns = []
            elif not columns:
                columns = [cell.strip() for cell in line.split("|")]
            if not is_prose or line.startswith("#"):
                lines.append(line)
            elif page == INDEX and line.startswith("|"):
                cells = line.split("|")
                package = [SYMBOLIC if column == DERIVED else SHORT[page] for column in columns]
                lines.append("|".join(self._line(page, *pair) for pair in zip(cells, package, strict=True)))
            else:
                lines.append(self._line(page, line, SHORT.get(page, "")))
        return "".join(lines)

    def _line(self, page: str, line: str, package: str) -> str:
        links = [match.span() for match in LINK.finditer(line)]
        file = ""

        def one(match: re.Match[str]) -> str:
            nonlocal file
            if any(first <= match.start() < last for first, last in links):
                return match[0]
            code = match["code"]
            if found := TEST.fullmatch(code):
                file = found["file"] or file
                return self._test(page, code, file, found["name"] or found["alone"] or "")
            if (found := COMMAND.fullmatch(code)) and found["name"] in self.commands:
                return f"[`{code}`](/reference/commands/{found['name']}.md)"
            return self._name(code, package)

        return CODE.sub(one, line)

    def _test(self, page: str, code: str, file: str, name: str) -> str:
        """A test; a class without a file is of the file named before it."""
        if not file or not (self.tests / file).is_file():
            return f"`{code}`"
        return f"[`{code}`]({'../' * page.count('/')}tests/{file}{'#' + name.lower() if name else ''})"

    def _name(self, code: str, package: str) -> str:
        """A name of lossmith, which may be called or have a member: ``lossmith.Loss.gamma``, ``attraction(…)``."""
        name = re.match(r"[A-Za-z_][\w.]*", code)
        if name is None or not re.fullmatch(r"[\w.]+(\(.*\))?(\[.*\])?( < 0)?", code):
            return f"`{code}`"
        parts = name[0].split(".")
        for length in range(len(parts), 0, -1):
            first = ".".join(parts[:length])
            full = self.described.get(first) or (self.described.get(f"{package}.{first}") if package else None)
            if full:
                return f"{{py:obj}}`{code} <{'.'.join([full, *parts[length:]])}>`"
        return f"`{code}`"
