"""The rules of the house that no other tool checks."""

import ast
import importlib.util
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution, packages_distributions
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import lossmith

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "lossmith"
SOURCES = sorted(PACKAGE.rglob("*.py"))
PROGRAMS = sorted(
    path for folder in ("experiments", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")
)
TOOLS = sorted((ROOT / "tools").rglob("*.py"))
# The modules of the extras, which may be missing, and the extra that brings each.
OPTIONAL = {
    "art": "robust",
    "datasets": "hub",
    "huggingface_hub": "hub",
    "PIL": "hub",
    "mlflow": "mlflow",
    "pandas": "tables",
    "pyarrow": "tables",
    "ray": "ray",
    "wandb": "wandb",
}

MOST_LINES = 350


def tool(name: str) -> ModuleType:
    """A program of tools/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


def part_of(path: Path) -> str:
    """What imports: a part of lossmith, or a folder of programs."""
    if not path.is_relative_to(PACKAGE):
        return path.relative_to(ROOT).parts[0]
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def exported(package: Path) -> set[str]:
    """The names in the ``__all__`` of a package."""
    for node in ast.parse((package / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return set(ast.literal_eval(node.value))
    return set()


def past_all(path: Path, text: str) -> set[str]:
    """The modules of other parts of lossmith that a file imports, or imports from, past their ``__all__``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        pairs: list[tuple[str, str | None]] = []
        if isinstance(node, ast.Import):
            pairs = [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            pairs = [(node.module, alias.name) for alias in node.names]
        for module, name in pairs:
            parts = module.split(".")
            place = PACKAGE.joinpath(*parts[1:])
            # A module that stands alone, as seeds and errors do, is a part of its own, and public.
            alone = len(parts) == 2 and place.with_suffix(".py").is_file()
            if parts[0] != "lossmith" or len(parts) == 1 or parts[1] == part_of(path) or alone:
                continue
            if not place.is_dir() or (name is not None and name not in exported(place)):
                found.add(module)
    return found


def test_source_imports_only_declared_dependencies(pyproject: dict[str, Any]) -> None:
    declared = {canonicalize_name(Requirement(text).name) for text in pyproject["project"]["dependencies"]}
    importers: dict[str, set[str]] = {}
    providers = packages_distributions()
    for path in SOURCES:
        for module in imported_modules(path):
            package = module.partition(".")[0]
            if package in sys.stdlib_module_names or package == "lossmith":
                continue
            if package in OPTIONAL:
                importers.setdefault(OPTIONAL[package], set()).add(path.name)
                continue
            names = {canonicalize_name(name) for name in providers.get(package, [])}
            assert names & declared, f"{path.name} imports {module}, which pyproject.toml does not name as a dependency"
    files = {"robust": {"library.py"}, "hub": {"images.py", "pictures.py"}, "tables": {"tables.py", "frame.py"}}
    files |= {"ray": {"entrance.py", "parcels.py", "tasks.py"}}
    assert importers == {**files, "mlflow": {"mlflow.py"}, "wandb": {"wandb.py"}}


def test_no_module_is_long() -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in (*SOURCES, *PROGRAMS, *TOOLS)
    }
    long = {name for name, lines in lengths.items() if lines > MOST_LINES}
    assert long == set(), f"more than {MOST_LINES} lines: split them"


def test_nobody_imports_past_all() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), module)
        for path in (*SOURCES, *PROGRAMS)
        for module in past_all(path, path.read_text(encoding="utf-8"))
    }
    assert found == set(), "imports what the package does not export: add it to its __all__, or do without"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from lossmith.losses import Loss, cross_entropy", set()),
        ("from lossmith.losses.loss import Loss", {"lossmith.losses.loss"}),
        ("def f():\n    from lossmith.losses import Loss, _hidden", {"lossmith.losses"}),
        ("import lossmith.losses.loss", {"lossmith.losses.loss"}),
        ("import lossmith.losses", set()),
        ("from lossmith.theory.symbolic import nothing_of_it", {"lossmith.theory.symbolic"}),
        ("from lossmith.study.study import Study", set()),
        ("from lossmith.errors import InputError\nfrom lossmith import Loss\nimport torch.nn", set()),
    ],
)
def test_an_import_past_all_would_be_seen(text: str, found: set[str]) -> None:
    assert past_all(PACKAGE / "study" / "any.py", text) == found


def test_nobody_advises_to_install_a_name_that_no_index_has() -> None:
    """`pip install lossmith` would fetch a stranger's package, once somebody takes the name."""
    written = [*SOURCES, *PROGRAMS, *TOOLS, *(ROOT / "docs").rglob("*.md"), *(ROOT / "results").rglob("*.md")]
    written += [path for path in ROOT.glob("*") if path.suffix in (".md", ".toml", ".txt") or path.name == "Makefile"]
    advice = re.compile(r"""install\s+(-\S+\s+)*["']?lossmith(\[|["'`]|\s|$)""")
    assert advice.search("pip install -U 'lossmith[hub]'")
    found = [path.name for path in written if advice.search(path.read_text(encoding="utf-8"))]
    assert found == []


def test_experiments_and_benchmarks_do_without_the_command_line() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), module)
        for path in PROGRAMS
        for module in imported_modules(path)
        if module.startswith("lossmith.cli")
    }
    assert found == set(), "the command line computes nothing that a program needs"


def test_layers_below_the_command_line_do_not_import_the_top_of_the_package() -> None:
    """`from lossmith import …` there would go around the layers where the top loads names on first use."""
    inside = [path for path in SOURCES if part_of(path) not in {"__init__", "__main__", "cli"}]
    assert [str(path) for path in inside if "lossmith" in imported_modules(path)] == []


def test_layers_are_checked_without_exceptions(pyproject: dict[str, Any]) -> None:
    (contract,) = pyproject["tool"]["importlinter"]["contracts"]
    assert contract["type"] == "layers"
    assert contract["exhaustive"]
    assert not {"ignore_imports", "exhaustive_ignores"} & contract.keys()


def test_contributing_tells_the_layers_as_they_are(pyproject: dict[str, Any]) -> None:
    (contract,) = pyproject["tool"]["importlinter"]["contracts"]
    layers = [re.sub(r"[()]", "", layer) for layer in contract["layers"]]
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Layers")[2]
    block = page.partition("```text\n")[2].partition("```")[0].splitlines()
    listed = [re.split(r" {2,}", line, maxsplit=1) for line in block]
    assert [layer for layer, _ in listed] == layers
    must = {part for layer in contract["layers"] for part in layer.split(" | ") if not part.startswith("(")}
    sentence = re.search(r"Only (.+?) are required\b", page)
    assert sentence is not None
    assert set(re.findall(r"`(\w+)`", sentence[1])) == must


def test_type_checking_is_relaxed_for_untyped_packages_only(pyproject: dict[str, Any]) -> None:
    """A package of an extra may be missing where types are checked, so it may have types."""
    (override,) = pyproject["tool"]["mypy"]["overrides"]
    assert override.keys() == {"module", "ignore_missing_imports"}
    for pattern in override["module"]:
        package = pattern.removesuffix(".*")
        if package in {*OPTIONAL, "jax", "optuna", "safetensors", "sphinx_gallery", "tensorboard"}:
            continue
        spec = find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        assert not Path(spec.origin).with_name("py.typed").exists(), f"{pattern} has types now"


def test_coverage_excludes_type_checking_imports_only(pyproject: dict[str, Any]) -> None:
    report = pyproject["tool"]["coverage"]["report"]
    assert report["exclude_lines"] == [r"^\s*if TYPE_CHECKING:"]
    assert report["fail_under"] >= 95
    assert not {"exclude_also", "omit", "include"} & (report.keys() | pyproject["tool"]["coverage"]["run"].keys())


def constraints() -> dict[str, str]:
    """The pins of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9.]*(b[0-9]+|post[0-9]+)?", pin) for pin in pins)
    pinned = dict(pin.split("==") for pin in pins)
    assert len(pinned) == len(pins)
    return pinned


def unpinned(extra: str) -> set[str]:
    """What an extra installs and constraints.txt does not pin; torch's CUDA build pins its own libraries."""
    cuda = re.compile(r"nvidia-|cuda-|triton$")
    return {name for name in needed_distributions(f"lossmith[{extra}]") if not cuda.match(name)} - constraints().keys()


def test_constraints_pin_everything_that_is_installed() -> None:
    assert unpinned("dev") == {"lossmith"}


@pytest.mark.integration
def test_constraints_pin_what_the_extras_install() -> None:
    assert unpinned("integrations") == {"lossmith"}


class TestOldest:
    """The constraints of `make test-oldest`."""

    def test_each_requirement_has_its_lower_bound(self, pyproject: dict[str, Any]) -> None:
        texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("pyproject.toml", "constraints.txt")]
        found = dict(line.split("==") for line in tool("oldest").constraints(*texts))
        assert found.pop("torch") == constraints()["torch"]
        for text in pyproject["project"]["dependencies"]:
            wanted = Requirement(text)
            assert [one.operator for one in wanted.specifier] == [">="]
            if wanted.name != "torch":
                assert str(wanted.specifier) == f">={found.pop(wanted.name)}"
        extras = pyproject["project"]["optional-dependencies"]
        for text in extras["tables"]:
            assert f">={found.pop(Requirement(text).name)}" == str(Requirement(text).specifier)
        assert found.items() <= constraints().items()
        assert found.keys() == {Requirement(text).name for text in set(extras["test"]) - set(extras["tables"])}

    @pytest.mark.parametrize(
        ("requirements", "pins", "words"),
        [
            ('["numpy"]', "torch==2.0\n", "'numpy', of which no oldest"),
            ('["numpy>=1,<3"]', "torch==2.0\n", "no oldest"),
            ('["numpy>=1"]', "# torch==2.0\n", "does not pin torch"),
        ],
    )
    def test_what_has_none_is_named(self, requirements: str, pins: str, words: str) -> None:
        document = f"[project]\ndependencies = {requirements}\noptional-dependencies = {{test = []}}"
        with pytest.raises(SystemExit, match=words):
            tool("oldest").constraints(document, pins)


class TestRelease:
    """One version, told in one place, and what a tag of it does."""

    def test_the_changelog_tells_of_the_version(self, pyproject: dict[str, Any]) -> None:
        version = pyproject["project"]["version"]
        texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("pyproject.toml", "CHANGELOG.md")]
        notes = tool("release_notes").notes(f"v{version}", *texts)
        assert "### Added" in notes
        assert "\n## " not in notes
        for tag in (version, f"v{version}.1"):
            with pytest.raises(SystemExit, match="is not v"):
                tool("release_notes").notes(tag, *texts)

    def test_a_section_ends_with_the_next(self) -> None:
        text = "# C\n\n## [1.1] - 2030-01-02\n\nNew.\n\n### Added\n- A\n\n## [1.0] - 2029-01-02\n\n[1.1]: x\n"
        section = tool("release_notes").section
        assert section(text, "1.1") == "New.\n\n### Added\n- A"
        with pytest.raises(SystemExit, match=r"nothing of 1\.0"):
            section(text, "1.0")
        for version in ("1", "1.2", "1x1"):
            with pytest.raises(SystemExit, match="no heading"):
                section(text, version)

    def test_no_other_file_says_the_version(self, pyproject: dict[str, Any]) -> None:
        version = pyproject["project"]["version"]
        saying = [path.name for path in SOURCES if f'"{version}"' in path.read_text(encoding="utf-8")]
        assert saying == []

    def test_the_installed_version_is_that_of_pyproject(self, pyproject: dict[str, Any]) -> None:
        assert lossmith.__version__ == distribution("lossmith").version == pyproject["project"]["version"]


def make_targets() -> dict[str, bool]:
    """The targets of the Makefile that its help lists, and whether its continuous integration calls each."""
    rules = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    called = re.findall(r"^step make ([a-z-]+)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(called) <= set(rules)
    return {rule: rule in called for rule in rules}


def test_everything_that_checks_is_called_before_a_change_lands() -> None:
    targets = make_targets()
    checking = {"lint", "dist", "test", "test-integrations", "examples", "docs", "test-oldest"}
    assert {name for name, called in targets.items() if called} == checking
    assert targets.keys() - checking == {"help", "setup", "demo", "fuzz", "test-python", "format", "clean"}


@pytest.mark.parametrize("name", ["ci.yml", "release.yml"])
def test_what_a_workflow_runs_is_there(name: str) -> None:
    text = (ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8")
    assert "\t" not in text
    commands = re.findall(r"^\s*(?:- )?run: (.+)$", text, re.MULTILINE)
    files = {word for command in commands for word in command.split() if re.fullmatch(r"(tools|\.ci)/\S+", word)}
    assert files == {"ci.yml": {".ci/run"}, "release.yml": {"tools/release_notes.py"}}[name]
    called = re.findall(r"uses: \./(\S+)", text)
    assert called == {"ci.yml": [], "release.yml": [".github/workflows/ci.yml"]}[name]
    for path in (*files, *called):
        assert (ROOT / path).is_file()
    assert all(word in make_targets() for command in commands for word in re.findall(r"make ([a-z-]+)", command))
