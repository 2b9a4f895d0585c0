"""Print pip's constraints for the oldest versions that pyproject.toml allows; torch and the test tools stay as pinned.

Each requirement of the package becomes its lower bound, and so does one of the tests that an extra has too. What those
versions bring with them is left to pip, since an old version may ask for exactly one of these (as pydantic does of
pydantic-core).
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9-]+)>=(?P<version>[0-9.]+)")
# Another torch would be another download of gigabytes, and other rounding.
KEPT = "torch"


def lower_bounds(requirements: list[str]) -> dict[str, str]:
    """Names and lower bounds of requirements, all of which must have the form ``name>=version``.

    Raises:
        SystemExit: if one has another form.
    """
    bounds: dict[str, str] = {}
    for text in requirements:
        found = REQUIREMENT.fullmatch(text)
        if found is None:
            raise SystemExit(
                f"pyproject.toml asks for {text!r}, of which no oldest version can be read: write name>=1.2"
            )
        bounds[found["name"]] = found["version"]
    return bounds


def constraints(pyproject: str, pinned: str) -> list[str]:
    """Lines of a constraints file, from the texts of pyproject.toml and of constraints.txt.

    Raises:
        SystemExit: if a requirement has no lower bound, or torch or a test tool is not pinned.
    """
    project = tomllib.loads(pyproject)["project"]
    bounds = lower_bounds(project["dependencies"])
    extras = dict(project["optional-dependencies"])
    tests = lower_bounds(extras.pop("test"))
    of_users = {requirement for extra in extras.values() for requirement in extra}
    pins = dict(line.split("==") for line in pinned.splitlines() if "==" in line and not line.startswith("#"))
    for name in (KEPT, *tests):
        if name not in pins:
            raise SystemExit(f"constraints.txt does not pin {name}")
        shared = f"{name}>={tests.get(name)}" in of_users
        bounds[name] = tests[name] if shared else pins[name]
    return [f"{name}=={version}" for name, version in sorted(bounds.items())]


def main() -> None:
    """Print the constraints for this source tree."""
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("pyproject.toml", "constraints.txt")]
    sys.stdout.write("\n".join(constraints(*texts)) + "\n")


if __name__ == "__main__":
    main()
