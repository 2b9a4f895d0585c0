"""The pages of the Python reference: every name that a package exports, under the module that it comes from."""

import ast
import inspect
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

# A name that several export is described with the first.
PACKAGES = (
    "lossmith",
    "lossmith.api",
    "lossmith.losses",
    "lossmith.theory",
    "lossmith.theory.symbolic",
    "lossmith.metrics",
    "lossmith.data",
    "lossmith.nets",
    "lossmith.attacks",
    "lossmith.search",
    "lossmith.training",
    "lossmith.analysis",
    "lossmith.study",
    "lossmith.report",
    "lossmith.integrations",
)
LONGEST_VALUE = 120


class Name(NamedTuple):
    """A name that a package exports: its own module, and the full name under which it is described."""

    name: str
    module: str
    described: str


def source(module: str) -> ast.Module:
    """The syntax of a module, which is not imported for that."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


def sentence(module: str) -> str:
    """The first line of a module's docstring, without its full stop."""
    return (ast.get_docstring(source(module)) or module).partition("\n")[0].rstrip(".")


def modules_of(package: str) -> dict[str, str]:
    """The module that each name is imported from, or defined in."""
    found: dict[str, str] = {}
    for node in ast.walk(source(package)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lossmith"):
            found |= {alias.asname or alias.name: node.module for alias in node.names}
    return found


def origin(module: str, name: str) -> tuple[str, str]:
    """The module that defines a name which another one may only pass on."""
    while True:
        inner = modules_of(module).get(name)
        if inner is None or inner == module:
            return module, name
        module = inner


def names(package: str, known: dict[tuple[str, str], str]) -> list[Name]:
    """What a package exports, in its order.

    Args:
        package: The package.
        known: Where what was described before stands, by origin; what is new is added.
    """
    homes, found = modules_of(package), list[Name]()
    for name in import_module(package).__all__:
        module, _ = key = origin(homes.get(name, package), name)
        found.append(Name(name, module, known.setdefault(key, f"{package}.{name}")))
    return found


def page(package: str, exported: list[Name]) -> str:
    """The page of a package: its names by module, each described, or linked where it is described."""
    doc = inspect.getdoc(import_module(package)) or ""
    lines = [f"# {package}", "", "```{eval-rst}", doc, "", f".. currentmodule:: {package}", "```", ""]
    for module in dict.fromkeys(one.module for one in exported):
        group = [one for one in exported if one.module == module]
        lines += [f"## {sentence(module)}", ""]
        own = [one for one in group if one.described == f"{package}.{one.name}"]
        for one in own:
            lines += ["```{eval-rst}", *described(package, one), "```", ""]
        if elsewhere := [one.described for one in group if one not in own]:
            links = ", ".join(f"{{py:obj}}`{name}`" for name in elsewhere)
            lines += [f"Described there: {links}.", ""]
    return "\n".join(lines)


def described(package: str, one: Name) -> list[str]:
    """The directive for a name: a class, a function, or a value."""
    value: Any = getattr(import_module(package), one.name)
    full = f"{package}.{one.name}"
    if inspect.isclass(value):
        return [f".. autoclass:: {full}", "   :members:"]
    if inspect.isroutine(value):
        return [f".. autofunction:: {full}"]
    shown = repr(value)
    lines = [f".. py:data:: {one.name}", f"   :module: {package}"]
    # What says where it lies in memory is no value.
    if len(shown) <= LONGEST_VALUE and " at 0x" not in shown and "\n" not in shown:
        lines.append(f"   :value: {shown}")
    return [*lines, "", *(f"   {line}" for line in told(one.module, one.name).splitlines())]


def told(module: str, name: str) -> str:
    """The string below an assignment of a module, or the comment above it; empty if there is none."""
    body = source(module).body
    for index, node in enumerate(body):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if not any(isinstance(target, ast.Name) and target.id == name for target in targets):
            continue
        after = body[index + 1] if index + 1 < len(body) else None
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
            return inspect.cleandoc(after.value.value)
        return _comment(module, node.lineno)
    return ""


def _comment(module: str, line: int) -> str:
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    above: list[str] = []
    for text in reversed(Path(spec.origin).read_text(encoding="utf-8").splitlines()[: line - 1]):
        if not text.startswith("# "):
            break
        above.insert(0, text.removeprefix("# "))
    return "\n".join(above)


def pages() -> dict[str, str]:
    """All pages of the Python reference, by their paths in the site."""
    known: dict[tuple[str, str], str] = {}
    return {f"reference/python/{package}.md": page(package, names(package, known)) for package in PACKAGES}


def all_described() -> dict[str, str]:
    """Where each exported name is described, by each full name that it has."""
    known: dict[tuple[str, str], str] = {}
    return {f"{package}.{one.name}": one.described for package in PACKAGES for one in names(package, known)}


LITERAL = re.compile(r"(``.*?``|`[^`]*`)")


def without_substitutions(line: str) -> str:
    """A line of a docstring in which a bar is a bar, as in ``|a - b|``, and not reStructuredText."""
    parts = LITERAL.split(line)
    return "".join(part if index % 2 else part.replace("|", r"\|") for index, part in enumerate(parts))
