"""`import lossmith` is light: what is heavy loads on first use."""

import subprocess
import sys

HEAVY = {"cmaes", "matplotlib", "pydantic", "rich", "scipy", "sklearn", "sqlite3", "sympy", "tyro"}


def loaded_by(statement: str) -> set[str]:
    """The top-level modules in memory after the statement, in a fresh interpreter."""
    program = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    )


def test_import_lossmith_loads_nothing_heavy() -> None:
    loaded = loaded_by("import lossmith, lossmith.cli")
    assert "lossmith" in loaded
    assert (HEAVY | {"torch", "numpy"}) & loaded == set()


def test_losses_load_torch_and_nothing_heavy() -> None:
    loaded = loaded_by("import lossmith; lossmith.Criterion; lossmith.losses.CATALOG")
    assert {"lossmith", "torch"} <= loaded
    assert HEAVY & (loaded - loaded_by("import torch")) == set()


def test_the_names_are_there_before_they_are_loaded() -> None:
    loaded_by("import lossmith; assert {*lossmith.__all__, 'nets', 'losses', '__version__'} <= {*dir(lossmith)}")


def test_a_heavy_module_would_be_seen() -> None:
    assert "cmaes" in loaded_by("import torch, cmaes") - loaded_by("import torch")


def test_networks_are_there_after_the_import_alone() -> None:
    assert "lossmith" in loaded_by("import lossmith; assert lossmith.nets.build('mlp', (4,), 3)")


def test_digits_are_read_without_what_learns_on_them() -> None:
    assert not {"sklearn", "scipy"} & loaded_by("import lossmith.data; lossmith.data.open_source('digits')")


STEP = """
import sys, torch
from lossmith.training.recipe import Recipe, build_optimizer
leaf = torch.ones(3, requires_grad=True)
leaf.sum().backward()
before = {*sys.modules}
optimizer = build_optimizer(Recipe(optimizer=sys.argv[1]), [leaf])
optimizer.step()
optimizer.zero_grad()
assert leaf[0] != 1
print(*{name for name in sys.modules if name.startswith("torch._dynamo")} - before)
"""


def test_a_step_of_sgd_loads_no_compiler() -> None:
    """PyTorch's own optimizers do, which takes a process about a second: what the other one shows."""
    loaded = {}
    for name in ("sgd", "adamw"):
        program = [sys.executable, "-c", STEP, name]
        loaded[name] = subprocess.run(program, check=True, capture_output=True, text=True).stdout.split()
    assert loaded["sgd"] == []
    assert "torch._dynamo" in loaded["adamw"]
