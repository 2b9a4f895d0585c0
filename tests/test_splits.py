"""Splits: every registered one, and what each promises of its own."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lossmith.data import DataSettings, Source, open_source, part_sizes, search_parts, test_part
from lossmith.data.splits import SPLITS, group_border, grouped_order, split
from lossmith.errors import InputError
from lossmith.seeds import generator

COUNT, CLASSES, GROUPS = 120, 3, 24
TARGETS = torch.randint(CLASSES, (COUNT,), generator=generator("targets"))
PATIENTS = torch.randint(GROUPS, (COUNT,), generator=generator("patients"))
every_split = pytest.mark.parametrize("name", SPLITS)


def source(**others: Any) -> Source:
    """Samples that say which row they are, in groups."""
    rows = torch.arange(COUNT, dtype=torch.float32)[:, None]
    return Source.from_tensors(rows, TARGETS, **{"groups": PATIENTS, **others})


def rows_of(chosen: DataSettings, of: Source | None = None) -> dict[str, Tensor]:
    found = split(of or source(), chosen)
    return found._asdict()


@every_split
class TestEverySplit:
    def test_each_sample_is_in_one_part(self, name: str) -> None:
        rows = rows_of(DataSettings(split=name))
        assert torch.cat(list(rows.values())).sort().values.tolist() == list(range(COUNT))
        assert all(len(one) > 0 for one in rows.values())

    def test_equal_settings_give_equal_parts(self, name: str) -> None:
        first, again = (rows_of(DataSettings(split=name)) for _ in range(2))
        assert all(torch.equal(first[part], again[part]) for part in first)
        other = rows_of(DataSettings(split=name, split_seed=1))
        assert all(torch.equal(first[part], other[part]) for part in first) == (name == "time")

    def test_the_test_part_depends_on_nothing_else(self, name: str) -> None:
        test = rows_of(DataSettings(split=name))["test"]
        for changes in ({"train_size": 40}, {"validation_size": 10}, {"label_noise": 0.2}):
            assert torch.equal(rows_of(DataSettings(split=name, **changes))["test"], test)

    def test_smaller_parts_are_subsets(self, name: str) -> None:
        large = rows_of(DataSettings(split=name, validation_size=30))
        small = rows_of(DataSettings(split=name, validation_size=30, train_size=30))
        assert set(small["train"].tolist()) < set(large["train"].tolist())
        assert torch.equal(small["validation"], large["validation"])
        assert set(rows_of(DataSettings(split=name, test_size=12))["test"].tolist()) < set(large["test"].tolist())

    def test_sizes(self, name: str) -> None:
        found = part_sizes(source(), DataSettings(split=name, train_size=50, validation_size=25, test_size=30))
        wanted = {"train": 50, "validation": 25, "test": 30}
        largest = int(PATIENTS.bincount().max())
        assert all(abs(found[part] - wanted[part]) <= (largest if name == "groups" else 0) for part in wanted)

    def test_samples_of_its_own_stay_the_parts(self, name: str) -> None:
        others = torch.arange(1000, 1012, dtype=torch.float32)[:, None], torch.arange(12) % CLASSES
        own = source(test_inputs=others[0], test_targets=others[1], validation=(others[0] + 50, others[1]))
        chosen = DataSettings(split=name)
        assert test_part(own, chosen).inputs[:, 0].tolist() == list(range(1000, 1012))
        assert search_parts(own, chosen).validation.inputs[:, 0].tolist() == list(range(1050, 1062))
        assert len(search_parts(own, chosen).train) == COUNT
        fewer = DataSettings(split=name, test_size=6, validation_size=3)
        assert part_sizes(own, fewer) == {"train": COUNT, "validation": 3, "test": 6}

    def test_too_large_sizes(self, name: str) -> None:
        for changes in ({"test_size": COUNT}, {"train_size": 100}, {"validation_size": 95}):
            with pytest.raises(InputError, match="give"):
                split(source(), DataSettings(split=name, **changes))  # type: ignore[arg-type]


class TestTime:
    def test_parts_follow_each_other(self) -> None:
        rows = rows_of(DataSettings(split="time", train_size=40, validation_size=20, test_size=30))
        assert sorted(rows["test"].tolist()) == list(range(90, 120))
        assert rows["validation"].tolist() == list(range(70, 90))
        assert rows["train"].tolist() == list(range(30, 70))

    def test_a_class_that_appears_later(self) -> None:
        late = Source.from_tensors(torch.randn(60, 2), (torch.arange(60) > 40).long())
        with pytest.raises(
            InputError, match=r"class 1 of tensors has too few samples .*none of it would be among these"
        ):
            split(late, DataSettings(split="time"))


class TestGroups:
    def test_none_is_in_two_parts(self) -> None:
        parts = [set(PATIENTS[rows].tolist()) for rows in rows_of(DataSettings()).values()]
        assert all(not one & other for number, one in enumerate(parts) for other in parts[:number])

    def test_auto_takes_them_and_stratified_does_not(self) -> None:
        plain = Source.from_tensors(source().inputs, TARGETS)
        for part, rows in rows_of(DataSettings(), plain).items():
            assert torch.equal(rows, rows_of(DataSettings(split="stratified"))[part])
            assert torch.equal(rows_of(DataSettings())[part], rows_of(DataSettings(split="groups"))[part])

    def test_they_are_a_part_of_the_digest(self) -> None:
        plain = Source.from_tensors(source().inputs, TARGETS)
        digests = {plain.digest, source().digest, source(groups=PATIENTS // 2).digest}
        assert len(digests) == 3
        assert source(groups=[f"p{number:02}" for number in PATIENTS.tolist()]).digest == source().digest

    @given(st.lists(st.integers(0, 6), min_size=2, max_size=40), st.integers(1, 40), st.integers(0, 3))
    def test_borders_cut_no_group(self, groups: list[int], size: int, seed: int) -> None:
        numbers = torch.tensor(groups)
        order = grouped_order(numbers, seed, "test")
        assert sorted(order.tolist()) == list(range(len(groups)))
        ordered = numbers[order]
        assert int((ordered[1:] != ordered[:-1]).sum()) == len(set(groups)) - 1
        if len(set(groups)) > 1:
            end = group_border(ordered, min(size, len(groups)))
            assert 0 < end < len(groups)
            assert not set(ordered[-end:].tolist()) & set(ordered[:-end].tolist())

    def test_where_they_come_from(self, tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
        arrays: dict[str, Any] = {"x_train": source().inputs.numpy(), "y_train": TARGETS.numpy()}
        np.savez(tmp_path / "a.npz", **arrays, groups=PATIENTS.numpy(), who=PATIENTS.numpy() % 5)
        path = str(tmp_path / "a.npz")
        for chosen in (DataSettings(groups="groups"), DataSettings(split="groups")):
            assert open_source(path, chosen).digest == source().digest
        assert open_source(path, DataSettings(groups="who")).digest == source(groups=PATIENTS % 5).digest
        caplog.clear()
        assert open_source(path).digest == Source.from_tensors(source().inputs, TARGETS).digest
        assert "holds groups, who, which nothing uses" in caplog.text
        assert "; --groups groups keeps each group in one part" in caplog.text
        with pytest.raises(InputError, match=r"a\.npz has no array patient, only groups, who, x_train, y_train"):
            open_source(path, DataSettings(groups="patient"))
        np.savez(tmp_path / "b.npz", **arrays, groups=PATIENTS.numpy()[:9])
        with pytest.raises(InputError, match=r"groups in .*b\.npz has shape \[9\], but there are 120 samples"):
            open_source(str(tmp_path / "b.npz"), DataSettings(groups="groups"))

    def test_of_a_table(self, tmp_path: Any) -> None:
        import pandas as pd

        frame = pd.DataFrame(
            {"x": source().inputs[:, 0] / 2, "who": [f"p{n}" for n in PATIENTS.tolist()], "y": TARGETS}
        )
        found = Source.from_frame(frame, "y", groups="who")
        frame.to_csv(tmp_path / "a.csv", index=False)
        assert open_source(str(tmp_path / "a.csv"), DataSettings(target="y", groups="who")).digest == found.digest
        assert found.input_shape == (1,)
        assert found.groups is not None
        assert len(found.groups.unique()) == len(PATIENTS.unique())
        with pytest.raises(
            InputError, match=r"the group of row \d+ of the test part of frame is in frame, too, and no gro"
        ):
            Source.from_frame(frame[:100], "y", groups="who", test=frame[:20])
        for groups, sentence in (("y", "holds the groups and nothing else"), ("z", "no column z.* mend --groups")):
            with pytest.raises(InputError, match=sentence):
                Source.from_frame(frame, "y", groups=groups)
        gaps = frame.assign(who=[None, *frame["who"][1:]])
        with pytest.raises(InputError, match="who of frame, which holds the groups, has an empty cell"):
            Source.from_frame(gaps, "y", groups="who")

    @pytest.mark.parametrize(
        ("groups", "sentence"),
        [
            (PATIENTS[:5], r"groups has shape \[5\], but there are 120 samples"),
            (torch.full((COUNT,), torch.nan), r"groups holds NaN: give each sample a group"),
            ([None] * COUNT, r"groups holds what is no group"),
            ([["a"], ["b", "c"]] * 60, r"groups holds what is no group"),
            (PATIENTS[:, None], r"groups has shape \[120, 1\]"),
        ],
    )
    def test_bad_ones(self, groups: Any, sentence: str) -> None:
        with pytest.raises(InputError, match=sentence):
            source(groups=groups)

    def test_one_group_is_enough_for_training(self) -> None:
        rows = rows_of(DataSettings(train_size=5), source(groups=torch.arange(COUNT) % 3))
        assert [len(one) for one in rows.values()] == [40, 40, 40]

    def test_too_few(self) -> None:
        for count in (1, 2):
            with pytest.raises(InputError, match="there is only one group left to be split in two"):
                split(source(groups=torch.arange(COUNT) % count), DataSettings())

    def test_without_any(self) -> None:
        with pytest.raises(InputError, match="split is groups, but digits has no groups: name the column"):
            split(open_source("digits"), DataSettings(split="groups"))


def test_an_unknown_split() -> None:
    with pytest.raises(ValueError, match=r"there is no split 'tim' \(did you mean time\?\); give one of stratified"):
        DataSettings(split="tim")
