"""What must work with the wheel alone; called with the source tree, from which nothing may come."""

import importlib
import pkgutil
import re
import subprocess
import sys
from importlib.metadata import requires, version
from importlib.resources import files
from pathlib import Path

import torch

import lossmith

source_tree = Path(sys.argv[1]).resolve()
package = Path(lossmith.__file__).resolve()
assert package.is_relative_to(Path(sys.prefix).resolve()), f"lossmith was imported from {package}, not from the wheel"
assert not package.is_relative_to(source_tree), f"lossmith was imported from the source tree: {package}"
assert files("lossmith").joinpath("py.typed").is_file(), "py.typed is missing, so type checkers would ignore lossmith"
program = files("lossmith").joinpath("training/engines/program/networks.cpp")
assert program.is_file(), "networks.cpp is missing, so small networks would train at a third of their speed"

extras = {re.split(r"[^\w.-]", line)[0] for line in requires("lossmith") or () if "extra ==" in line}
modules = [module.name for module in pkgutil.walk_packages(lossmith.__path__, "lossmith.")]
for name in modules:
    if not name.endswith("__main__"):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in extras:
                raise
            print(f"{name} needs {error.name}, which an extra brings")

logits = torch.randn(5, 3, requires_grad=True)
value = lossmith.Criterion(lossmith.cross_entropy())(logits, torch.tensor([0, 1, 2, 0, 1]))
value.backward()
assert torch.isfinite(value), f"the criterion gave {value}"
assert logits.grad is not None, "the criterion gave no gradient"

command = Path(sys.executable).with_name("lossmith")
text = subprocess.run([command, "--help"], check=True, capture_output=True, text=True).stdout
for word in ("evolve", "compare", "explain", "trace", "attack", "corruption", "basin"):
    assert word in text, f"`lossmith --help` does not name {word}"

print(f"lossmith {version('lossmith')} works as a wheel: {len(modules)} modules, criterion, command line, py.typed")
