"""The reference of the command line, from what each command's own ``--help-all`` prints."""

import io
import os
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import NamedTuple
from unittest import mock

from lossmith.cli import COMMANDS, main

# The widest terminal in which boxes are not set side by side.
WIDTH = "129"
FLAG = re.compile(r"(?P<flag>(?:--?|\[?[A-Z])\S*(?: \S+)*?)(?: {2,}(?P<words>.*))?")
SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$])")


class Group(NamedTuple):
    """Flags that belong together: their title, what they are for, and each with its description."""

    title: str
    about: str
    flags: dict[str, str]


def help_of(command: str) -> str:
    """What ``lossmith COMMAND --help-all`` prints."""
    # Of a stream without an encoding, tyro believes that it takes no boxes.
    written = io.BytesIO()
    with (
        io.TextIOWrapper(written, encoding="utf-8") as text,
        mock.patch.dict(os.environ, COLUMNS=WIDTH),
        redirect_stdout(text),
    ):
        try:
            main([command, "--help-all"])
        except SystemExit as end:
            if end.code:
                raise
        text.flush()
        return written.getvalue().decode("utf-8")


def groups(text: str) -> Iterator[Group]:
    """The boxes of a help text."""
    for title, inside in re.findall(r"╭─ (.+?) ─*╮\n(.*?)╰", text, re.DOTALL):
        lines = [line.strip("│").rstrip().removeprefix(" ") for line in inside.splitlines()]
        rule = next((index for index, line in enumerate(lines) if line and not line.strip("─")), -1)
        flags, last = dict[str, str](), ""
        for line in lines[rule + 1 :]:
            if not line or line.startswith(" "):
                flags[last] = joined(flags[last], line.strip())
            elif last and last.count("{") > last.count("}"):
                # Choices that take several lines.
                words = flags.pop(last)
                last = joined(last, line.strip())
                flags[last] = words
            else:
                found = FLAG.fullmatch(line)
                assert found is not None, f"no flag begins this line of the help: {line!r}"
                last = found["flag"]
                flags[last] = found["words"] or ""
        yield Group(title, " ".join(lines[: max(rule, 0)]).strip(), flags)


def joined(first: str, second: str) -> str:
    """Two lines as one; choices in braces are broken after a comma that no space follows."""
    inside = first.endswith(",") and first.count("{") > first.count("}")
    return f"{first}{'' if inside else ' '}{second}".strip()


def plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return SPECIAL.sub(r"\\\1", text)


def anchor(command: str, flag: str) -> str:
    """Where a flag, or what is given without one, stands on the page of its command."""
    name = re.search(r"--[a-z0-9-]+", flag)
    word = name[0].lstrip("-") if name else flag.split()[0].strip("[]").partition(".")[0].lower()
    return f"{command}-{word}"


def page(command: str) -> str:
    """The page of a command."""
    text = help_of(command)
    before = text.partition("╭")[0].strip()
    usage, *paragraphs = re.split(r"\n\s*\n", before)
    lines = [f"# lossmith {command}", "", "```text", " ".join(usage.split()).removeprefix("usage: "), "```", ""]
    for paragraph in paragraphs:
        words = " ".join(paragraph.split())
        if words.startswith("example:"):
            lines += ["```console", f"$ {words.removeprefix('example:').strip()}", "```", ""]
        else:
            lines += [plain(words), ""]
    for group in groups(text):
        lines += [f"## {group.title[0].upper()}{group.title[1:]}", ""]
        lines += [plain(group.about), ""] if group.about else []
        for flag, words in group.flags.items():
            lines += [f"({anchor(command, flag)})=", f"`{flag}`", f": {plain(words)}", ""]
    return "\n".join(lines)


def overview() -> str:
    """The page that lists the commands."""
    rows = "".join(f"- [`lossmith {name}`]({name}.md): {plain(words)}\n" for name, words in COMMANDS.items())
    contents = "\n".join(f"lossmith {name} <{name}>" for name in COMMANDS)
    intro = (
        "Each page has every flag of a command, as `--help-all` prints it. `--help` prints the flags that most people "
        "use, and `lossmith --version` the version. Bad input ends a command with exit code 2 and one sentence, Ctrl-C "
        "with 130; nothing stored is lost."
    )
    return f"# Commands\n\n{intro}\n\n{rows}\n```{{toctree}}\n:hidden:\n\n{contents}\n```\n"


def pages() -> dict[str, str]:
    """All pages of the commands, by their paths in the site."""
    folder = "reference/commands"
    return {f"{folder}/index.md": overview()} | {f"{folder}/{name}.md": page(name) for name in COMMANDS}
