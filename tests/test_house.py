"""The rules of the house that no other tool checks."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution, packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "lossmith").rglob("*.py"))


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def imported_modules(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it, as written."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively; write the module's full name"
            assert node.module is not None
            yield node.module


def needed_distributions(requirement: str) -> set[str]:
    """The names of all distributions that a requirement brings on this machine."""
    needed: set[str] = set()
    waiting = [Requirement(requirement)]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if (name, frozenset(wanted.extras)) in seen:
            continue
        seen.add((name, frozenset(wanted.extras)))
        needed.add(name)
        for text in distribution(name).requires or []:
            inner = Requirement(text)
            if inner.marker is None or any(inner.marker.evaluate({"extra": e}) for e in wanted.extras | {""}):
                waiting.append(inner)
    return needed


def test_source_imports_only_declared_dependencies(pyproject: dict[str, Any]) -> None:
    declared = {canonicalize_name(Requirement(text).name) for text in pyproject["project"]["dependencies"]}
    extras = pyproject["project"]["optional-dependencies"]
    optional = {canonicalize_name(Requirement(text).name): name for name in ("robust", "hub") for text in extras[name]}
    importers: dict[str, set[str]] = {}
    providers = packages_distributions()
    for path in SOURCES:
        for module in imported_modules(path):
            package = module.partition(".")[0]
            if package in sys.stdlib_module_names or package == "lossmith":
                continue
            names = {canonicalize_name(name) for name in providers.get(package, [])}
            if names & optional.keys():
                importers.setdefault(optional[min(names & optional.keys())], set()).add(path.name)
                continue
            assert names & declared, f"{path.name} imports {module}, which pyproject.toml does not name as a dependency"
    assert importers == {"robust": {"library.py"}, "hub": {"images.py"}}


def test_layers_below_the_command_line_do_not_import_the_top_of_the_package() -> None:
    """`from lossmith import …` there would go around the layers where the top loads names on first use."""
    package = ROOT / "src" / "lossmith"
    inside = [
        path for path in SOURCES if path.relative_to(package).parts[0] not in {"__init__.py", "__main__.py", "cli"}
    ]
    assert [str(path) for path in inside if "lossmith" in imported_modules(path)] == []


def test_layers_are_checked_without_exceptions(pyproject: dict[str, Any]) -> None:
    (contract,) = pyproject["tool"]["importlinter"]["contracts"]
    assert contract["type"] == "layers"
    assert contract["exhaustive"]
    assert not {"ignore_imports", "exhaustive_ignores"} & contract.keys()


def test_type_checking_is_relaxed_for_untyped_packages_only(pyproject: dict[str, Any]) -> None:
    for override in pyproject["tool"]["mypy"]["overrides"]:
        assert override.keys() == {"module", "ignore_missing_imports"}
        for pattern in override["module"]:
            spec = find_spec(pattern.removesuffix(".*"))
            assert spec is not None
            assert spec.origin is not None
            assert not Path(spec.origin).with_name("py.typed").exists(), f"{pattern} has types now"


def test_coverage_excludes_type_checking_imports_only(pyproject: dict[str, Any]) -> None:
    report = pyproject["tool"]["coverage"]["report"]
    assert report["exclude_lines"] == [r"^\s*if TYPE_CHECKING:"]
    assert report["fail_under"] >= 95
    assert not {"exclude_also", "omit", "include"} & (report.keys() | pyproject["tool"]["coverage"]["run"].keys())


def test_constraints_pin_everything_that_is_installed() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9.]*", pin) for pin in pins)
    pinned = {pin.partition("==")[0] for pin in pins}
    assert len(pinned) == len(pins)
    # torch's CUDA build pins its own libraries.
    cuda = re.compile(r"nvidia-|cuda-|triton$")
    needed = {name for name in needed_distributions("lossmith[dev]") if not cuda.match(name)}
    assert needed - pinned == {"lossmith"}
