"""From settings to a function that builds networks, and the check that they fit the data."""

import copy
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lossmith.code import described
from lossmith.errors import BINARY, MEASURED, InputError
from lossmith.nets.called import CalledBody, told_of
from lossmith.nets.ends import check_end
from lossmith.nets.parts import Shapes
from lossmith.nets.registry import body_factory
from lossmith.nets.settings import ModelSettings

LOG = logging.getLogger("lossmith")
FEW = 16


@dataclass(frozen=True)
class NetworkFactory:
    """Builds a network with fresh initial weights at each call; a value that can be pickled.

    Args:
        layer: The input layer before the body.
        body: Builds the rest.
    """

    layer: nn.Module
    body: Callable[[], nn.Module]

    def __call__(self) -> nn.Module:
        """``nn.Sequential(layer, body)``, with weights from PyTorch's global generator."""
        # A copy, since a network that is moved to a device or another type takes its buffers along.
        return nn.Sequential(copy.deepcopy(self.layer), self.body())


def network_factory(
    settings: ModelSettings,
    layer: nn.Module,
    input_shape: Shapes,
    classes: int,
    *,
    kind: str | None = None,
    vocabulary: int | None = None,
    padding: int | None = None,
    own: Callable[..., nn.Module] | None = None,
) -> NetworkFactory:
    """A function that builds a network with fresh initial weights at each call.

    The network is ``nn.Sequential(layer, body)``. Initial weights come from PyTorch's global generator, which the
    caller seeds under ``torch.random.fork_rng``.

    Args:
        settings: Which network.
        layer: Its input layer, fitted on the training part, such as ``Normalize``.
        input_shape: Shape of one input behind that layer; where that gives a dict of tensors, of each by its name.
        classes: Number of classes K.
        kind: Name of the kind of data; images or feature vectors by the shape, or tokens by the vocabulary, without it.
        vocabulary: Number of token ids, if the inputs are such.
        padding: The token id that fills sequences up, if one does.
        own: A class or function of the user's that gives the network, instead of what its name says.

    Raises:
        InputError: If there is no such network, it does not take such data, or it has no use for the rate of dropout;
            the function that is returned raises it if the user's own function fails.
    """
    shape = input_shape if isinstance(input_shape, dict) else tuple(input_shape)
    if own is not None:
        return NetworkFactory(layer, CalledBody(own, settings.name, shape, classes, told_of(vocabulary, padding)))
    body = body_factory(
        settings.name,
        shape,
        classes,
        hidden=settings.hidden,
        dropout=settings.dropout,
        kind=kind,
        vocabulary=vocabulary,
        padding=padding,
    )
    return NetworkFactory(layer, body)


def check_network(
    factory: Callable[[], nn.Module], inputs_sample: Tensor, classes: int, vocabulary: int | None = None
) -> None:
    """Build the network and run a few samples through it, in evaluation and in training mode.

    The global generators are left as they were.

    Args:
        factory: Builds the network.
        inputs_sample: ``[N, *input_shape]``, N ≥ 1, of which a few are used.
        classes: Number of classes K.
        vocabulary: Number of token ids, if the inputs are such; the largest of them is tried, too.

    Raises:
        InputError: If the network is no ``nn.Module``, has nothing to train or lazy layers, shares its weights with
            the one built before, raises, changes its inputs, or does not return floating numbers of shape ``[N,K]``
            that depend on its parameters and, in training mode, are finite. What can be meant is only told.
    """
    devices = [inputs_sample.get_device()] if inputs_sample.is_cuda else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        network = _trainable(factory())
        weights = {id(parameter) for parameter in network.parameters()}
        if any(id(parameter) in weights for parameter in _trainable(factory()).parameters()):
            raise InputError(
                "the model gives the same network at each call, but each training needs its own: build a new one "
                "inside the function"
            )
        device = next(network.parameters()).device
        samples = (
            torch.cat([inputs_sample, inputs_sample]).to(device) if len(inputs_sample) < 2 else inputs_sample.to(device)
        )
        if vocabulary is not None:
            samples = samples.clone()
            samples[0, -1] = vocabulary - 1
        for training in (False, True):
            kept = samples.clone()
            outputs = _check_output(network.train(training), samples, classes, vocabulary)
            if not bool(((samples == kept) | (samples != samples)).all()):
                raise InputError(
                    "the model changes its inputs in place, which are the data itself: let it work on a copy"
                )
            _check_numbers(outputs, training)
        with torch.enable_grad():
            check_end(network, samples[:FEW])


def _trainable(network: object) -> nn.Module:
    if not isinstance(network, nn.Module):
        raise InputError(f"the model gives an object of type {type(network).__name__}: let it give a torch.nn.Module")
    if any(is_lazy(tensor) for tensor in chain(network.parameters(), network.buffers())):
        raise InputError("the model has lazy layers, whose sizes are not known yet: give their sizes in numbers")
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise InputError("the model has no parameters to train: let at least one require gradients")
    return network


def _check_numbers(outputs: Tensor, training: bool) -> None:
    wrong = int((~outputs.isfinite()).sum())
    if wrong == 0:
        return
    mode = "training" if training else "evaluation"
    sentence = f"{wrong} of {outputs.numel()} outputs of the model are not finite numbers in {mode} mode at the start"
    if training:
        raise InputError(f"{sentence}: look at its initial weights, logarithms and divisions, and the scale of inputs")
    LOG.warning("%s", sentence)


def _check_output(network: nn.Module, samples: Tensor, classes: int, vocabulary: int | None) -> Tensor:
    mode = "training" if network.training else "evaluation"
    try:
        outputs = network(samples)
    except Exception as error:
        if isinstance(error, IndexError) and vocabulary is not None:
            raise InputError(
                f"the model has no embedding of the token id {int(samples.max())}, the largest of this data "
                f"({described(error)}): give it {int(samples.max()) + 1} embeddings or more, or number the tokens anew"
            ) from error
        wanted = _wanted_channels(error, samples)
        if wanted is not None:
            raise InputError(
                f"the model takes images of {'1 channel' if wanted == 1 else '3 channels'}, but these have "
                f"{samples.shape[1]}: convert them with channels = {wanted} (--channels {wanted}), or make the model "
                "fit the data"
            ) from error
        raise InputError(
            f"the model does not take inputs of shape {_shape(network, samples)} in {mode} mode ({described(error)}): "
            "make it fit the data"
        ) from error
    if not isinstance(outputs, Tensor):
        raise InputError(
            f"the model returns an object of type {type(outputs).__name__} in {mode} mode: let it return one tensor of "
            "logits, or something with such logits by that name"
        )
    if outputs.shape != (len(samples), classes):
        remedy = f"let it return [{len(samples)}, {classes}], one logit for each class"
        if outputs.shape in ((len(samples),), (len(samples), 1)):
            remedy = BINARY if classes == 2 else f"{remedy}; {MEASURED}"
        elif outputs.ndim > 2 and outputs.shape[:2] == (len(samples), classes):
            remedy += "; a class for each pixel is trained in a loop of your own, with lossmith.Criterion"
        raise InputError(
            f"the model returns shape {list(outputs.shape)} in {mode} mode for {len(samples)} samples of {classes} "
            f"classes: {remedy}"
        )
    if not outputs.is_floating_point():
        raise InputError(f"the model returns {outputs.dtype} in {mode} mode: let it return floating logits")
    return outputs


def _shape(network: nn.Module, samples: Tensor) -> str:
    """The shape of what the body of a network gets, which may be a dict of tensors."""
    given = network[0](samples) if isinstance(network, nn.Sequential) and samples.dtype == torch.int64 else samples
    return str(
        {name: list(one.shape) for name, one in given.items()} if isinstance(given, dict) else list(samples.shape)
    )


def _wanted_channels(error: Exception, samples: Tensor) -> int | None:
    """The 3 channels that a convolution wants of grey images, or the 1 of colour images; None for any other error."""
    found = re.search(r"expected input(\[[\d, ]+\]) to have (\d+) channels, but got (\d+) channels", str(error))
    if found is None or found[1] != str(list(samples.shape)) or {found[2], found[3]} != {"1", "3"}:
        return None
    return int(found[2])
