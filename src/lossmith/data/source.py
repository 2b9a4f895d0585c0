"""All samples of a data set, checked: from arrays, tensors, or a PyTorch dataset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from lossmith.data.arrays import (
    VALIDATIONS,
    check_classes,
    check_pair,
    check_test,
    check_test_targets,
    group_numbers,
    prepared_targets,
    tell_constant,
    tensor_from_numpy,
)
from lossmith.data.columns import Block
from lossmith.data.datasets import Pair, Samples, check_both, padded, pair_of, stacked_dataset, unpacked
from lossmith.data.digests import digest_of
from lossmith.data.kinds import AUTO, KINDS, MOST_IDS, Field, has_ids, kind_of, turned
from lossmith.errors import InputError, brief


@dataclass(frozen=True, eq=False)
class Source:
    """All samples, with clean labels, before any split; made by a classmethod, which checks, or by ``open_source``.

    Attributes:
        name: For people; what identifies the data is ``digest``.
        inputs: ``[N, *input_shape]``; images ``[N,C,H,W]`` and feature vectors ``[N,F]``, uint8 or float32; tokens
            ``[N,L]``, int64.
        targets: ``[N]``, int64, in 0…K−1.
        test_inputs: The source's own test inputs, ``[M, *input_shape]``, if it has any.
        test_targets: Their labels, ``[M]``, int64.
        max_pixel: Value of a white pixel, if the source knows it.
        class_names: What the classes are called, in their order, if the source knows it.
        kind: Its kind of data, a name of ``KINDS``.
        noise: What a file says of label noise: labels ``[N]``, int64, or probabilities ``[K,K]``, float64.
        validation_inputs: The source's own validation inputs, ``[V, *input_shape]``, if it has any.
        validation_targets: Their labels, ``[V]``, int64.
        groups: Numbers of the groups of the samples, ``[N]``, int64, of which none may be in two parts.
        imputed: The columns of a table that lacks values: NaN in inputs, which parts have filled.
        layout: Of dicts of tensors: what is in the rows of inputs.
        padding: The token id that fills sequences up, if one does.
    """

    name: str
    inputs: Tensor
    targets: Tensor
    test_inputs: Tensor | None = None
    test_targets: Tensor | None = None
    max_pixel: float | None = None
    class_names: tuple[str, ...] | None = None
    kind: str = field(kw_only=True)
    noise: Tensor | None = field(kw_only=True, default=None)
    validation_inputs: Tensor | None = field(kw_only=True, default=None)
    validation_targets: Tensor | None = field(kw_only=True, default=None)
    groups: Tensor | None = field(kw_only=True, default=None)
    imputed: tuple[Block, ...] | None = field(kw_only=True, default=None)
    layout: tuple[Field, ...] = field(kw_only=True, default=())
    padding: int | None = field(kw_only=True, default=None)

    @cached_property
    def classes(self) -> int:
        """Number of classes K."""
        return int(self.targets.max()) + 1

    def class_called(self, index: int) -> str:
        """How to call a class in a message: its number, and its name if it has one."""
        return f"class {index}" if self.class_names is None else f"class {index} ({self.class_names[index]})"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input: ``(C, H, W)``, ``(F,)`` or ``(L,)``."""
        return tuple(self.inputs.shape[1:])

    @cached_property
    def vocabulary(self) -> int | None:
        """The largest id of all inputs, those of all parts, and 1; None of inputs that are no ids.

        It says how many embeddings a network needs; those of ids that are in no training sample stay as they began.
        """
        own = (self.inputs, self.validation_inputs, self.test_inputs)
        parts = [inputs for inputs in own if inputs is not None and has_ids(inputs) and not self.layout]
        return 1 + max(int(inputs.max()) for inputs in parts) if parts else None

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of type, shape and bytes of all arrays; the same wherever and under whatever name they lie.

        A kind of data that must be asked for is a part of it, since another one trains other networks.
        """
        return digest_of(self)

    def with_padding(self, padding: int | None) -> Self:
        """The source with the token id that fills sequences up; the same without one.

        Raises:
            InputError: If its inputs are no token ids.
        """
        if padding is None:
            return self
        if self.kind != "tokens" or not 0 <= padding < MOST_IDS:
            raise InputError(
                f"padding_id is {padding}, but {self.name} has {KINDS[self.kind].called}, and token ids are 0, 1, …: "
                "leave it out, or say that the data is tokens (--kind tokens)"
            )
        return replace(self, padding=padding)

    def with_groups(self, groups: Any, what: str) -> Self:
        """The source with a group for each sample, none of which is in two parts; the same without groups.

        Args:
            groups: ``[N]``, numbers or texts.
            what: The name by which the user knows them.

        Raises:
            InputError: If there is not one for each sample, or one is missing.
        """
        if groups is None:
            return self
        return replace(self, groups=group_numbers(groups, len(self.targets), what))

    @classmethod
    def from_tensors(
        cls,
        inputs: Tensor,
        targets: Tensor,
        test_inputs: Tensor | None = None,
        test_targets: Tensor | None = None,
        name: str = "tensors",
        kind: str = AUTO,
        *,
        validation: Pair | None = None,
        groups: Any = None,
        padding_id: int | None = None,
    ) -> Self:
        """Source of tensors, or NumPy arrays, in memory.

        Args:
            inputs: ``[N,F]``, ``[N,H,W]`` or ``[N,C,H,W]``; uint8 stays uint8, any other real type becomes float32.
                Of the kind ``"tokens"``, ``[N,L]``, whole numbers 0, 1, …, or sequences of uneven lengths, which are
                padded. Or a dict of tensors ``[N, …]``, which the network gets as such.
            targets: ``[N]`` or ``[N,1]``, class indices 0…K−1.
            test_inputs: Like ``inputs``, for the final comparison only.
            test_targets: Like ``targets``.
            name: What to call the data.
            kind: The kind of data, a name of ``KINDS``; ``"auto"`` knows images and feature vectors by their shape.
            validation: Inputs and labels that are the validation part, like ``inputs`` and ``targets``.
            groups: The group of each sample of ``inputs``, ``[N]``, numbers or texts: no group is in two parts.
            padding_id: The token id that fills sequences up; of sequences of uneven lengths 0 by default, if that is
                no token.

        Raises:
            InputError: If shapes, types, lengths or labels cannot be used.
        """
        test = None if test_inputs is None and test_targets is None else (test_inputs, test_targets)
        train = Samples.of((inputs, targets), "inputs", "targets", kind)
        source = cls._checked(
            name,
            kind,
            train,
            Samples.of(test, "test_inputs", "test_targets", kind),
            Samples.of(pair_of(validation, "validation"), "validation inputs", "validation targets", kind),
            padding=padding_id,
        )
        return source.with_groups(groups, "groups")

    @classmethod
    def from_dataset(
        cls,
        dataset: Dataset[Any],
        test: Dataset[Any] | None = None,
        name: str = "dataset",
        kind: str = AUTO,
        *,
        validation: Dataset[Any] | None = None,
        groups: Any = None,
        padding_id: int | None = None,
    ) -> Self:
        """Source of a map-style dataset, read once and stacked in memory.

        Random augmentation belongs to the training recipe and not into this dataset. Items are pairs of an input (a
        tensor ``[F]``, ``[H,W]``, ``[C,H,W]`` or ``[L]``; a NumPy array or a PIL image, ``[H,W,C]`` too) and a class
        index; or dicts of tensors with the class index beside such a dict or in it (``labels``, ``label``), which the
        network gets as dicts.

        Args:
            dataset: Training samples (and validation and test samples, where these are not given).
            test: The test samples, for the final comparison only.
            name: What to call the data.
            kind: As in :meth:`from_tensors`.
            validation: The validation samples.
            groups: The group of each item of ``dataset``, as in :meth:`from_tensors`.
            padding_id: As in :meth:`from_tensors`.

        Raises:
            InputError: If it is not map-style, an item is no such pair, inputs differ in shape or type, or anything
                of :meth:`from_tensors`.
        """
        given = {"dataset": dataset, "test dataset": test, "validation dataset": validation}
        parts = [
            None
            if one is None
            else Samples(
                *stacked_dataset(one, f"the {called}", kind), f"inputs of the {called}", f"targets of the {called}"
            )
            for called, one in given.items()
        ]
        return cls._checked(name, kind, *parts, padding=padding_id).with_groups(groups, "groups")

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        target: str,
        *,
        test: Any = None,
        validation: Any = None,
        drop: Sequence[str] = (),
        categories: str = "one-hot",
        missing: str = "refuse",
        groups: str | None = None,
        name: str = "frame",
    ) -> "Source":
        """Source of a pandas ``DataFrame``, of which numbers, truth values and texts become features ``[N,F]``.

        Args:
            frame: A row for each sample.
            target: The column of the labels; its different values in sorted order are the classes.
            test: The test samples, with the same columns, for the final comparison only.
            validation: The validation samples.
            drop: Columns that are left out.
            categories: How texts become numbers: ``"one-hot"`` or ``"ordinal"``.
            missing: ``"refuse"`` cells that are empty, or ``"impute"`` the training part's median or most frequent one.
            groups: The column of groups, of which none is in two parts.
            name: What to call the data.

        Raises:
            InputError: If pandas is not installed, or columns cannot be labels or features.
        """
        from lossmith.data.framed import source_of_tables

        tables = {
            part: one for part, one in (("train", frame), ("test", test), ("validation", validation)) if one is not None
        }
        names = {"train": name, "test": f"the test part of {name}", "validation": f"the validation part of {name}"}
        return source_of_tables(
            tables, names, target=target, drop=drop, categories=categories, missing=missing, groups=groups, name=name
        )

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, NDArray[Any]],
        name: str,
        place: str,
        kind: str = AUTO,
        *,
        channels_first: bool = False,
    ) -> Self:
        """Source of the NumPy arrays of a file.

        Args:
            arrays: ``x_train``, ``y_train`` and, if wanted, ``x_test``, ``y_test`` and ``x_val``, ``y_val`` (or
                ``valid``, ``validation``); images ``[N,H,W,C]`` with 1, 3 or 4 channels, or square ones of fewer
                channels than rows, are recognised and turned round.
            name: What to call the data.
            place: Where the arrays are, for messages.
            kind: As in :meth:`from_tensors`.
            channels_first: Whether images are known to be ``[N,C,H,W]``, so that none is turned round.

        Raises:
            InputError: If an array holds anything but real numbers, or anything of :meth:`from_tensors`.
        """
        own = next((one for one in VALIDATIONS if f"x_{one}" in arrays or f"y_{one}" in arrays), VALIDATIONS[0])
        parts = list[Samples | None]()
        for part in ("train", "test", own):
            names = [f"{letter}_{part} in {place}" for letter in "xy"]
            pair = [
                tensor_from_numpy(arrays[f"{letter}_{part}"], called) if f"{letter}_{part}" in arrays else None
                for letter, called in zip("xy", names, strict=True)
            ]
            if pair[0] is not None and not channels_first:
                pair[0] = turned(pair[0], kind, names[0] if part == "train" else None)
            given = any(one is not None for one in pair)
            parts.append(Samples(pair[0], pair[1], names[0], names[1]) if given else None)
        return cls._checked(name, kind, *parts)

    @classmethod
    def _checked(
        cls,
        name: str,
        kind: str,
        train: Samples | None,
        test: Samples | None = None,
        validation: Samples | None = None,
        *,
        padding: int | None = None,
    ) -> Self:
        parts = [train, test, validation]
        for one in parts:
            check_both(one)
        if train is None or train.inputs is None:
            raise InputError("there are no inputs and no targets: give both of them")
        if padding is not None and (type(padding) is not int or not 0 <= padding < MOST_IDS):
            raise InputError(f"padding_id is {brief(padding)}, but token ids are whole numbers 0, 1, …: give one")
        if kind == "tokens" and any(one is not None and isinstance(one.inputs, list) for one in parts):
            parts, padding = padded(parts, padding)
        (train, test, validation), layout = unpacked(parts)
        kind = "dict" if layout and kind == AUTO else kind
        assert train is not None
        assert train.inputs is not None
        assert train.targets is not None
        kind = kind_of(train.inputs, train.inputs_name, kind)
        if bool(layout) != (KINDS[kind].unpack is not None):
            given = "a dict of tensors" if layout else "one tensor and no dict of tensors"
            raise InputError(f"{train.inputs_name} is {given}, but kind is {kind}: leave it out, or give other inputs")
        inputs = KINDS[kind].prepared(train.inputs, train.inputs_name)
        targets = prepared_targets(train.targets, train.targets_name)
        check_pair(inputs, targets, train.inputs_name, train.targets_name)
        check_classes(targets, train.targets_name)
        tell_constant(inputs, train.inputs_name)
        source = cls(name, inputs, targets, kind=kind, layout=layout).with_padding(padding)
        found: dict[str, Any] = {
            f"{role}_{what}": tensor
            for role, part in (("test", test), ("validation", validation))
            if part is not None
            for what, tensor in zip(("inputs", "targets"), source._like(part, train.inputs_name), strict=True)
        }
        return replace(source, **found)

    def _like(self, part: Samples, train_name: str) -> tuple[Tensor, Tensor]:
        """Inputs and labels of another part, checked against those of training."""
        assert part.inputs is not None
        assert part.targets is not None
        inputs = KINDS[self.kind].prepared(part.inputs, part.inputs_name)
        targets = prepared_targets(part.targets, part.targets_name)
        check_pair(inputs, targets, part.inputs_name, part.targets_name)
        check_test(self.inputs, inputs, train_name, part.inputs_name)
        check_test_targets(targets, self.classes, part.targets_name)
        return inputs, targets
