"""A population of 200 networks fits into a small machine's memory, and a criterion takes little more than PyTorch's."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import resource, torch
from lossmith.data import DataSettings, Normalize, open_source, search_parts
from lossmith.nets import ModelSettings, network_factory
from lossmith.search import residual
from lossmith.training import Recipe, Task, train
parts = search_parts(open_source("digits"), DataSettings(train_size=800))
train_part = parts.train
factory = network_factory(ModelSettings(), Normalize.fit(train_part.inputs), parts.input_shape, 10)
task = Task(factory, train_part.inputs, train_part.targets, 10)
losses = residual(torch.zeros(200, 5), 10)
trained = train(task, losses, range(200), Recipe(epochs=1), "population",
                (parts.validation.inputs, parts.validation.targets))
assert len(trained.networks) == 200
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_two_hundred_digits_networks_take_less_than_one_and_a_half_gib() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) / 2**20 < 1.5


CRITERION = """
import sys
from pathlib import Path
import torch
from torch.nn import functional
from lossmith import Criterion, find
torch.set_num_threads(1)
whose, labels, needed = sys.argv[1:]
logits = torch.rand(16384, 1000).requires_grad_()
targets = torch.arange(16384) % 1000 if labels == "indices" else logits.detach().roll(1, 0).softmax(1)
value = Criterion(find("paper/mnist", 1000)) if whose == "ours" else functional.cross_entropy
def work(logits, targets):
    found = value(logits, targets)
    return torch.autograd.grad(found, logits) if needed == "gradient" else found
def memory(name):
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(name))
    return 1024 * int(line.split()[1])
torch.set_grad_enabled(needed == "gradient")
work(logits[:2], targets[:2])
before = memory("VmHWM")
work(logits, targets)
print((memory("VmHWM") - before) / (4 * logits.numel()))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells a process's peak there")
@pytest.mark.parametrize("needed", ["gradient", "value"])
@pytest.mark.parametrize("labels", ["indices", "probabilities"])
def test_a_criterion_takes_no_more_memory_than_cross_entropy_and_a_copy_of_the_logits(labels: str, needed: str) -> None:
    copies = {}
    for whose in ("ours", "torch"):
        run = subprocess.run(
            [sys.executable, "-c", CRITERION, whose, labels, needed], capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr
        copies[whose] = float(run.stdout)
    assert copies["ours"] <= copies["torch"] + 1
