"""Print what CHANGELOG.md says of a tag, `python tools/release_notes.py v1.2.3`, if that is the package's version."""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def section(changelog: str, version: str) -> str:
    """What the changelog says of a version, without the heading.

    Raises:
        SystemExit: if there is no dated heading for it, or nothing below.
    """
    heading = re.compile(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d{{2}}-\d{{2}}$", re.MULTILINE)
    found = heading.search(changelog)
    if found is None:
        raise SystemExit(f"CHANGELOG.md has no heading '## [{version}] - YYYY-MM-DD'")
    text = re.split(r"^## |^\[[^\]]+\]: ", changelog[found.end() :], maxsplit=1, flags=re.MULTILINE)[0].strip()
    if not text:
        raise SystemExit(f"CHANGELOG.md says nothing of {version}")
    return text


def notes(tag: str, pyproject: str, changelog: str) -> str:
    """The notes of the release that a tag names.

    Raises:
        SystemExit: if the tag is not the version with a v before it, or as :func:`section`.
    """
    version: str = tomllib.loads(pyproject)["project"]["version"]
    if tag != f"v{version}":
        raise SystemExit(f"the tag {tag} is not v{version}, the version in pyproject.toml")
    return section(changelog, version)


def main(arguments: list[str]) -> None:
    """Print the notes for the tag that is given."""
    if len(arguments) != 1:
        raise SystemExit("give one tag, for example v1.2.3")
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("pyproject.toml", "CHANGELOG.md")]
    sys.stdout.write(notes(arguments[0], *texts) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
