"""A population of 200 networks fits into a small machine's memory."""

import subprocess
import sys

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
