"""A criterion in the training libraries that people use: each real package, on tiny data, without a network."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lossmith
from lossmith import Criterion, InputError
from lossmith.integrations import (
    FastaiCriterion,
    keras_loss,
    keras_monitor,
    lightning_progress,
    trainer_loss,
    trainer_metrics,
    trainer_progress,
)
from lossmith.losses import schedule

os.environ["KERAS_BACKEND"] = "torch"
os.environ["HF_HUB_OFFLINE"] = "1"
# What other packages warn of is theirs to mend.
pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

CLASSES = 3
WEIGHT = torch.tensor([0.5, 1.0, 1.5])
EVOLVED = lossmith.cross_entropy().smoothed(0.2, CLASSES) + 2 * lossmith.mae()


def samples(count: int = 24, features: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features of which the largest of the first three tells the class."""
    inputs = torch.randn(count, features, generator=torch.Generator().manual_seed(seed))
    return inputs, inputs[:, :CLASSES].argmax(1)


def perceptron(features: int = 4) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(features, 8), nn.Tanh(), nn.Linear(8, CLASSES))


def gradients(network: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("function", [trainer_loss, trainer_metrics, keras_loss, keras_monitor])
@pytest.mark.parametrize("given", ["focal:2", nn.CrossEntropyLoss(), EVOLVED], ids=["name", "module", "loss"])
def test_what_is_no_criterion_is_refused(function: Callable[[Any], Any], given: Any) -> None:
    with pytest.raises(InputError, match=rf"criterion is a {type(given).__name__}; give a lossmith\.Criterion"):
        function(given)


class TestTransformers:
    """Hugging Face's Trainer with a tiny BERT."""

    @staticmethod
    def rows(tokens: bool) -> list[dict[str, Any]]:
        """Sentences of token numbers with one label, or one for each token, of which more and more are ignored."""
        generator = torch.Generator().manual_seed(1)
        words = torch.randint(5, 20, (8, 6), generator=generator)
        labels = torch.randint(CLASSES, (8, 6) if tokens else (8,), generator=generator)
        if tokens:
            labels[torch.arange(6) > torch.arange(8)[:, None]] = -100
        return [{"input_ids": w, "labels": y} for w, y in zip(words, labels, strict=True)]

    @staticmethod
    def network(tokens: bool) -> Any:
        transformers = pytest.importorskip("transformers")
        config = transformers.BertConfig(
            vocab_size=20,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            intermediate_size=8,
            max_position_embeddings=8,
            num_labels=CLASSES,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        torch.manual_seed(0)
        kind = "BertForTokenClassification" if tokens else "BertForSequenceClassification"
        return getattr(transformers, kind)(config)

    def trainer(self, folder: Path, tokens: bool, loss: Callable[..., Tensor], accumulation: int, **more: Any) -> Any:
        transformers = pytest.importorskip("transformers")
        arguments = transformers.TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=8 // accumulation,
            gradient_accumulation_steps=accumulation,
            max_steps=1,
            optim="sgd",
            learning_rate=1.0,
            lr_scheduler_type="constant",
            max_grad_norm=0.0,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            save_strategy="no",
        )
        rows = self.rows(tokens)
        return transformers.Trainer(
            self.network(tokens), arguments, train_dataset=rows, eval_dataset=rows, compute_loss_func=loss, **more
        )

    def moved(self, folder: Path, tokens: bool, loss: Callable[..., Tensor], accumulation: int) -> list[Tensor]:
        """The gradient of a step, from how far gradient descent with rate 1 moves the weights."""
        trainer = self.trainer(folder, tokens, loss, accumulation)
        before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
        trainer.train()
        return [was - now.detach() for was, now in zip(before, trainer.model.parameters(), strict=True)]

    @pytest.mark.parametrize("tokens", [False, True], ids=["sequences", "tokens"])
    def test_gradients_do_not_depend_on_accumulation(self, tmp_path: Path, tokens: bool) -> None:
        criterion = Criterion(EVOLVED)
        rows, network = self.rows(tokens), self.network(tokens)
        logits = network(torch.stack([row["input_ids"] for row in rows])).logits
        labels = torch.stack([row["labels"] for row in rows])
        criterion(logits.movedim(-1, 1) if tokens else logits, labels).backward()
        # Some weights have none: the one-word embeddings of a kind.
        expected = [torch.zeros_like(p) if p.grad is None else p.grad for p in network.parameters()]
        assert max(gradient.abs().max() for gradient in expected) > 0.01
        for accumulation in (1, 2, 8):
            moved = self.moved(tmp_path, tokens, trainer_loss(criterion), accumulation)
            torch.testing.assert_close(moved, expected, rtol=1e-4, atol=2e-6)

    def test_a_loss_that_changes_follows_the_training(self, tmp_path: Path) -> None:
        pytest.importorskip("transformers")
        criterion, seen = Criterion(schedule([(0.0, "cross-entropy"), (1.0, "mae")])), list[float]()

        def loss(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
            seen.append(criterion.progress)
            return trainer_loss(criterion)(outputs, labels, num_items_in_batch)

        trainer = self.trainer(tmp_path, False, loss, 2, callbacks=[trainer_progress(criterion)])
        trainer.args.max_steps = 4
        trainer.train()
        # Each step has two batches.
        assert seen == [0.0, 0.0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75]

    def test_without_the_number_of_items_they_do(self, tmp_path: Path) -> None:
        """What the test above would see."""
        criterion = Criterion(EVOLVED)

        def mean(outputs: Any, labels: Tensor, num_items_in_batch: Tensor) -> Tensor:
            value: Tensor = criterion(outputs.logits.movedim(-1, 1), labels)
            return value

        whole, parts = (self.moved(tmp_path, True, mean, accumulation) for accumulation in (1, 2))
        assert max((one - other).abs().max() for one, other in zip(whole, parts, strict=True)) > 0.01

    def test_class_weights_count_the_same_in_every_batch(self, tmp_path: Path) -> None:
        loss = trainer_loss(Criterion(EVOLVED, weight=WEIGHT))
        whole, parts = (self.moved(tmp_path, True, loss, accumulation) for accumulation in (1, 4))
        torch.testing.assert_close(whole, parts, rtol=1e-4, atol=2e-6)

    def test_early_stopping_looks_at_cross_entropy(self, tmp_path: Path) -> None:
        criterion = Criterion(EVOLVED, weight=WEIGHT)
        trainer = self.trainer(tmp_path, True, trainer_loss(criterion), 1, compute_metrics=trainer_metrics(criterion))
        found, rows = trainer.evaluate(), self.rows(True)
        labels = torch.stack([row["labels"] for row in rows])
        logits = trainer.model(torch.stack([row["input_ids"] for row in rows])).logits.detach()
        flat, known = logits.reshape(-1, CLASSES), labels.reshape(-1)
        expected = nn.functional.cross_entropy(flat, known, WEIGHT)
        assert found["eval_cross_entropy"] == pytest.approx(expected.item(), rel=1e-5)
        right = (flat.argmax(1) == known)[known >= 0]
        assert found["eval_accuracy"] == pytest.approx(right.double().mean().item())
        assert found["eval_loss"] != pytest.approx(found["eval_cross_entropy"], rel=0.01)

    @pytest.mark.parametrize(
        ("options", "words"),
        [({"reduction": "sum"}, "the Trainer needs the mean"), ({"ignore_index": 0}, "that is not -100")],
    )
    def test_what_the_trainer_cannot_count_is_refused(self, options: dict[str, Any], words: str) -> None:
        for function in (trainer_loss, trainer_metrics):
            with pytest.raises(InputError, match=words):
                function(Criterion(EVOLVED, **options))

    def test_outputs_without_logits_of_classes_are_refused(self) -> None:
        outputs = pytest.importorskip("transformers.modeling_outputs")
        loss, logits, labels = trainer_loss(Criterion(EVOLVED)), torch.randn(2, 5, 3), torch.zeros(2, 5).long()
        with pytest.raises(InputError, match="labels must be shifted"):
            loss(outputs.CausalLMOutput(logits=logits), labels)
        with pytest.raises(InputError, match="no 'logits', only last_hidden_state"):
            loss(outputs.BaseModelOutput(last_hidden_state=logits), labels)

    def test_a_tuple_of_outputs_has_the_logits_first(self) -> None:
        criterion = Criterion(EVOLVED)
        logits, labels = torch.randn(4, CLASSES), torch.arange(4) % CLASSES
        expected = criterion(logits, labels)
        assert trainer_loss(criterion)((logits, torch.zeros(1)), labels) == expected
        torch.testing.assert_close(trainer_loss(criterion)(logits, labels, 4), expected)


class TestLightning:
    """A module with a criterion in Lightning's Trainer."""

    @staticmethod
    def module(lightning: Any) -> Any:
        class Classifier(lightning.LightningModule):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.network, self.criterion = perceptron(), Criterion(EVOLVED, weight=WEIGHT)

            def training_step(self, batch: list[Tensor], number: int) -> Tensor:
                value: Tensor = self.criterion(self.network(batch[0]), batch[1])
                return value

            def validation_step(self, batch: list[Tensor], number: int) -> None:
                logits = self.network(batch[0])
                self.log("val_loss", self.criterion(logits, batch[1]))
                self.log("val_cross_entropy", self.criterion.monitor(logits, batch[1]))

            def configure_optimizers(self) -> torch.optim.Optimizer:
                return torch.optim.SGD(self.parameters(), lr=0.1)

        return Classifier()

    def test_it_trains_stops_and_is_loaded_again(self, tmp_path: Path) -> None:
        lightning = pytest.importorskip("lightning")
        data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*samples()), batch_size=24)
        stopping = lightning.pytorch.callbacks.EarlyStopping("val_cross_entropy", patience=1, min_delta=100.0)
        module = self.module(lightning)
        trainer = lightning.Trainer(
            default_root_dir=tmp_path,
            max_epochs=5,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[stopping],
        )
        trainer.fit(module, data, data)
        assert trainer.current_epoch == 2, "the second epoch is not better by 100"
        inputs, targets = samples()
        expected = nn.functional.cross_entropy(module.network(inputs), targets, WEIGHT).item()
        assert trainer.callback_metrics["val_cross_entropy"] == pytest.approx(expected, rel=1e-5)
        assert stopping.best_score > expected
        other = self.module(lightning)
        state = torch.load(trainer.checkpoint_callback.best_model_path, weights_only=True)["state_dict"]
        other.load_state_dict(state, strict=True)
        torch.testing.assert_close(other.state_dict(), module.state_dict())

    def test_a_step_is_that_of_an_ordinary_loop(self, tmp_path: Path) -> None:
        lightning = pytest.importorskip("lightning")
        inputs, targets = samples()
        data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, targets), batch_size=24)
        module, network = self.module(lightning), perceptron()
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        lightning.Trainer(
            default_root_dir=tmp_path, max_steps=3, accelerator="cpu", enable_checkpointing=False, **quiet
        ).fit(module, data)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            Criterion(EVOLVED, weight=WEIGHT)(network(inputs), targets).backward()
            optimizer.step()
        torch.testing.assert_close(module.network.state_dict(), network.state_dict())

    def test_a_loss_that_changes_follows_the_training(self, tmp_path: Path) -> None:
        lightning = pytest.importorskip("lightning")
        module, seen = self.module(lightning), list[float]()
        module.criterion = Criterion(schedule([(0.0, "cross-entropy"), (1.0, "mae")]))
        module.criterion.register_forward_pre_hook(lambda one, _: seen.append(one.progress))
        lightning.Trainer(
            default_root_dir=tmp_path,
            max_epochs=2,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[lightning_progress(module.criterion)],
        ).fit(module, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*samples()), batch_size=6))
        steps = len(seen)
        assert steps > 4
        assert seen == [step / steps for step in range(steps)]


class TestSkorch:
    """``NeuralNetClassifier``, scikit-learn's interface."""

    @staticmethod
    def classifier(**more: Any) -> Any:
        skorch = pytest.importorskip("skorch")
        torch.manual_seed(0)
        options = {"criterion": Criterion, "criterion__loss": EVOLVED, "train_split": None, "verbose": 0, **more}
        return skorch.NeuralNetClassifier(perceptron, max_epochs=2, lr=0.1, iterator_train__shuffle=False, **options)

    def test_probabilities_are_the_softmax(self) -> None:
        inputs, targets = samples()
        network = self.classifier().fit(inputs.numpy(), targets.numpy())
        found = network.predict_proba(inputs.numpy())
        np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)
        with torch.no_grad():
            np.testing.assert_allclose(found, network.module_(inputs).softmax(1).numpy(), rtol=1e-5)
        assert (network.predict(inputs.numpy()) == found.argmax(1)).all()

    def test_losses_are_settings_of_a_grid_search(self) -> None:
        selection = pytest.importorskip("sklearn.model_selection")
        losses = [lossmith.cross_entropy(), lossmith.focal(2)]
        inputs, targets = samples()
        search = selection.GridSearchCV(self.classifier(), {"criterion__loss": losses}, cv=2, error_score="raise")
        search.fit(inputs.numpy(), targets.numpy())
        assert search.best_params_["criterion__loss"] in losses
        assert search.best_estimator_.criterion_.loss == search.best_params_["criterion__loss"]

    def test_early_stopping_looks_at_cross_entropy(self) -> None:
        callbacks = pytest.importorskip("skorch.callbacks")
        dataset = pytest.importorskip("skorch.dataset")
        helper = pytest.importorskip("skorch.helper")

        def valid_cross_entropy(network: Any, inputs: Any, targets: Any) -> float:
            logits = network.forward(inputs)
            value: Tensor = network.criterion_.monitor(logits, torch.as_tensor(targets))
            return value.item()

        inputs, targets = samples()
        split = helper.predefined_split(dataset.Dataset(inputs.numpy(), targets.numpy()))
        network = self.classifier(
            train_split=split,
            callbacks=[
                callbacks.EpochScoring(valid_cross_entropy, use_caching=False, lower_is_better=True),
                callbacks.EarlyStopping("valid_cross_entropy", patience=1, threshold=100.0, threshold_mode="abs"),
            ],
        ).fit(inputs.numpy(), targets.numpy())
        assert len(network.history) == 2
        with torch.no_grad():
            expected = nn.functional.cross_entropy(network.module_(inputs), targets).item()
        assert network.history[-1, "valid_cross_entropy"] == pytest.approx(expected, rel=1e-5)
        assert network.history[-1, "valid_loss"] != pytest.approx(expected, rel=0.01)


class TestFastai:
    """A ``Learner``."""

    @staticmethod
    def learner(folder: Path, criterion: nn.Module, **more: Any) -> Any:
        fastai = pytest.importorskip("fastai.basics")
        pytest.importorskip("fastai.callback.progress")  # It gives learners `no_bar`.
        inputs, targets = samples()
        rows = list(zip(inputs, targets, strict=True))
        parts = [fastai.DataLoader(rows, bs=24, shuffle=False, num_workers=0) for _ in range(2)]
        loaders = fastai.DataLoaders(*parts)
        return fastai.Learner(loaders, perceptron(), loss_func=criterion, path=folder, **more)

    def test_predictions_are_probabilities_and_classes(self, tmp_path: Path) -> None:
        learner = self.learner(tmp_path, FastaiCriterion(EVOLVED, weight=WEIGHT))
        with learner.no_bar(), learner.no_logging():
            learner.fit(1)
            found, targets, classes, losses = learner.get_preds(with_decoded=True, with_loss=True)
        torch.testing.assert_close(found.sum(1), torch.ones(24))
        logits = learner.model(samples()[0]).detach()
        torch.testing.assert_close(torch.as_tensor(found), logits.softmax(1))
        assert torch.equal(torch.as_tensor(classes), logits.argmax(1))
        each = Criterion(EVOLVED, weight=WEIGHT, reduction="none")(logits, targets)
        torch.testing.assert_close(torch.as_tensor(losses), each)
        assert learner.loss_func.reduction == "mean"

    def test_early_stopping_looks_at_cross_entropy(self, tmp_path: Path) -> None:
        tracker = pytest.importorskip("fastai.callback.tracker")
        criterion = FastaiCriterion(EVOLVED)
        learner = self.learner(tmp_path, criterion, metrics=criterion.monitor)
        callbacks = [
            tracker.EarlyStoppingCallback("monitor", comp=np.less, min_delta=100.0, patience=1),
            tracker.SaveModelCallback("monitor", comp=np.less),
        ]
        with learner.no_bar(), learner.no_logging():
            learner.fit(5, cbs=callbacks)
        assert len(learner.recorder.values) == 2
        # The best of the epochs was loaded again, and both are better than nothing.
        inputs, targets = samples()
        expected = nn.functional.cross_entropy(learner.model(inputs), targets).item()
        assert min(row[-1] for row in learner.recorder.values) == pytest.approx(expected, rel=1e-5)

    def test_pixels(self) -> None:
        core = pytest.importorskip("fastai.torch_core")
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(2, CLASSES, 4, 4, generator=generator, requires_grad=True)
        mask = torch.randint(CLASSES, (2, 4, 4), generator=generator)
        mask[0, 0] = 255
        criterion = FastaiCriterion(EVOLVED, ignore_index=255)
        found = criterion(core.TensorBase(logits), core.TensorMask(mask))
        torch.testing.assert_close(torch.as_tensor(found), criterion(logits, mask), check_dtype=False)
        assert criterion.activation(logits).sum(1).shape == criterion.decodes(logits).shape == mask.shape


class TestKeras:
    """Keras 3 on PyTorch."""

    @staticmethod
    def model(keras: Any, **settings: Any) -> Any:
        assert keras.backend.backend() == "torch"
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(CLASSES)])
        model.compile(optimizer=keras.optimizers.SGD(0.5), **settings)
        return model

    @pytest.mark.parametrize("labels", ["indices", "columns", "probabilities"])
    def test_a_step_is_that_of_an_ordinary_loop(self, labels: str) -> None:
        keras = pytest.importorskip("keras")
        criterion = Criterion(EVOLVED)
        model = self.model(keras, loss=keras_loss(criterion), metrics=[keras_monitor(criterion)])
        inputs, indices = samples()
        targets = {
            "indices": indices,
            "columns": indices[:, None],
            "probabilities": nn.functional.one_hot(indices, CLASSES).float(),
        }[labels]
        with torch.enable_grad():
            criterion(model(inputs), indices).backward()
        expected = [one.value.detach() - 0.5 * one.value.grad for one in model.trainable_variables]
        model.zero_grad()
        history = model.fit(inputs.numpy(), targets.numpy(), batch_size=24, epochs=1, shuffle=False, verbose=0).history
        torch.testing.assert_close([one.value.detach() for one in model.trainable_variables], expected)
        assert set(history) == {"loss", "cross_entropy"}

    def test_early_stopping_looks_at_cross_entropy(self) -> None:
        keras = pytest.importorskip("keras")
        criterion = Criterion(EVOLVED, weight=WEIGHT, reduction="none")
        model = self.model(keras, loss=keras_loss(criterion), metrics=[keras_monitor(criterion)])
        stopping = keras.callbacks.EarlyStopping("val_cross_entropy", mode="min", min_delta=100.0, patience=1)
        inputs, targets = samples()
        arrays = inputs.numpy(), targets.numpy()
        history = model.fit(
            *arrays, batch_size=24, epochs=5, validation_data=arrays, callbacks=[stopping], verbose=0
        ).history
        assert len(history["val_loss"]) == 2
        with torch.no_grad():
            logits = model(inputs)
        each = nn.functional.cross_entropy(logits, targets, WEIGHT, reduction="none")
        assert history["val_cross_entropy"][-1] == pytest.approx(each.mean().item(), rel=1e-5)
        assert history["val_loss"][-1] == pytest.approx(criterion(logits, targets).mean().item(), rel=1e-5)
        torch.testing.assert_close(criterion.weight, WEIGHT)

    def test_pixels_have_their_classes_last(self) -> None:
        keras = pytest.importorskip("keras")
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(2, 4, 4, CLASSES, generator=generator)
        mask = torch.randint(CLASSES, (2, 4, 4, 1), generator=generator)
        mask[0, 0] = 255
        criterion = Criterion(EVOLVED, ignore_index=255)
        each = Criterion(EVOLVED, ignore_index=255, reduction="none")(logits.movedim(-1, 1), mask[..., 0])
        found = keras.losses.get(keras_loss(criterion))(mask.float(), logits)
        torch.testing.assert_close(found, each)

    def test_a_saved_model_is_loaded_again(self, tmp_path: Path) -> None:
        keras = pytest.importorskip("keras")
        loss = keras_loss(Criterion(EVOLVED))
        model = self.model(keras, loss=loss)
        inputs, targets = samples()
        model.fit(inputs.numpy(), targets.numpy(), epochs=1, verbose=0)
        model.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras", custom_objects={loss.__name__: loss})
        values = [one.evaluate(inputs.numpy(), targets.numpy(), verbose=0) for one in (model, again)]
        assert values[0] == pytest.approx(values[1])

    def test_probabilities_and_other_backends_are_refused(self) -> None:
        loss = keras_loss(Criterion(EVOLVED))
        inputs, targets = samples()
        with pytest.raises(InputError, match="leave out the softmax"):
            loss(targets, perceptron()(inputs).softmax(1))
        with pytest.raises(InputError, match=r"Keras gives numpy\.ndarray, .* KERAS_BACKEND=torch"):
            loss(targets, np.zeros((24, CLASSES)))
        with pytest.raises(InputError, match="do not fit logits"):
            loss(targets[:, None, None], perceptron()(inputs))


class TestTimm:
    """A model of timm, with its mixup, which makes probabilities of labels."""

    def test_mixed_labels(self) -> None:
        timm = pytest.importorskip("timm")
        data, losses = pytest.importorskip("timm.data"), pytest.importorskip("timm.loss")
        torch.manual_seed(0)
        model = timm.create_model("test_resnet", pretrained=False, num_classes=CLASSES, in_chans=1)
        np.random.seed(0)  # noqa: NPY002 — what timm draws from
        mixup = data.Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.1, num_classes=CLASSES)
        images, targets = mixup(torch.randn(4, 1, 32, 32), torch.arange(4) % CLASSES)
        assert targets.shape == (4, CLASSES)
        logits = model(images)
        expected = losses.SoftTargetCrossEntropy()(logits, targets)
        criterion = Criterion(lossmith.cross_entropy())
        torch.testing.assert_close(criterion(logits, targets), expected)
        torch.testing.assert_close(criterion.monitor(logits, targets), expected.detach())
        Criterion(EVOLVED)(logits, targets).backward()
        assert all(gradient.isfinite().all() for gradient in gradients(model))

    def test_label_smoothing(self) -> None:
        losses = pytest.importorskip("timm.loss")
        logits, targets = torch.randn(8, CLASSES), torch.arange(8) % CLASSES
        expected = losses.LabelSmoothingCrossEntropy(0.1)(logits, targets)
        torch.testing.assert_close(Criterion(lossmith.cross_entropy(), label_smoothing=0.1)(logits, targets), expected)

    def test_the_checkpoint_kept_is_that_of_the_lowest_cross_entropy(self, tmp_path: Path) -> None:
        utils = pytest.importorskip("timm.utils")
        network, (inputs, targets) = perceptron(), samples()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
        saver = utils.CheckpointSaver(network, optimizer, checkpoint_dir=str(tmp_path), decreasing=True, max_history=1)
        criterion, seen = Criterion(EVOLVED), []
        for epoch in range(3):
            seen.append(criterion.monitor(network(inputs), targets).item())
            saver.save_checkpoint(epoch, metric=seen[-1])
            optimizer.zero_grad()
            criterion(network(inputs), targets).backward()
            optimizer.step()
        assert saver.best_metric == min(seen)


class Step(nn.Module):
    """Network and criterion in one, as they are exported."""

    def __init__(self, criterion: Criterion) -> None:
        super().__init__()
        self.network, self.criterion = perceptron(), criterion

    def forward(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(inputs)
        return self.criterion(logits, targets), self.criterion.monitor(logits, targets)


class TestExport:
    """``torch.export`` of a network with its criterion."""

    @pytest.mark.parametrize("strict", [False, True])
    @pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
    def test_value_gradient_and_monitor_are_kept_at_any_batch_size(self, weight: Tensor | None, strict: bool) -> None:
        step = Step(Criterion(EVOLVED, weight=weight, ignore_index=1))
        batch = torch.export.Dim("batch", min=2)
        exported = torch.export.export(
            step, samples(), dynamic_shapes={"inputs": {0: batch}, "targets": {0: batch}}, strict=strict
        ).module()
        inputs, targets = samples(10, seed=1)
        found, monitored = exported(inputs, targets)
        expected, cross_entropy = step(inputs, targets)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(monitored, cross_entropy)
        assert not monitored.requires_grad
        found.backward()
        expected.backward()
        torch.testing.assert_close(gradients(exported), gradients(step))

    @pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
    @pytest.mark.parametrize("labels", ["indices", "probabilities"])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_a_traced_monitor_is_the_same(self, weight: Tensor | None, labels: str, dtype: torch.dtype) -> None:
        criterion = Criterion(EVOLVED, weight=weight, label_smoothing=0.1)
        logits, targets = samples(features=CLASSES)
        logits = logits.to(dtype)
        if labels == "probabilities":
            targets = logits.softmax(1)
        traced = torch.compile(criterion.monitor, backend="eager", fullgraph=True)
        found = traced(logits, targets)
        torch.testing.assert_close(found, criterion.monitor(logits, targets))
        assert found.dtype == dtype

    def test_a_saved_program(self, tmp_path: Path) -> None:
        step = Step(Criterion(EVOLVED))
        torch.export.save(torch.export.export(step, samples()), tmp_path / "step.pt2")
        loaded = torch.export.load(tmp_path / "step.pt2").module()
        torch.testing.assert_close(loaded(*samples()), step(*samples()))


# Two processes of one program: the samples of the first are fewer that count, and weigh otherwise.
PARALLEL = """
import os, sys
import torch
import torch.distributed as dist
from torch import nn
import lossmith

weight = torch.tensor([0.5, 1.0, 1.5])
inputs = torch.randn(24, 4, generator=torch.Generator().manual_seed(0))
targets = inputs[:, :3].argmax(1)
fewer = targets.clone()
fewer[:7] = -100
evolved = lossmith.cross_entropy().smoothed(0.2, 3) + 2 * lossmith.mae()


def network():
    torch.manual_seed(0)
    return nn.parallel.DistributedDataParallel(nn.Linear(4, 3))


def found(model, loss, seen):
    loss.backward()
    return [model.module.weight.grad, model.module.bias.grad, seen]


def by_mean(mine):
    model, criterion = network(), lossmith.Criterion(evolved)
    logits = model(inputs[mine])
    seen = criterion.monitor(logits, targets[mine])
    dist.all_reduce(seen)
    return found(model, criterion(logits, targets[mine]), seen / 2)


def by_sum(mine, weight):
    model, criterion = network(), lossmith.Criterion(evolved, weight=weight, reduction="sum")
    logits, labels = model(inputs[mine]), fewer[mine]
    kept = labels[labels >= 0]
    count = torch.tensor(float(len(kept))) if weight is None else weight[kept].sum()
    dist.all_reduce(count)
    seen = criterion.monitor(logits, labels)
    dist.all_reduce(seen)
    return found(model, dist.get_world_size() * criterion(logits, labels) / count, seen / count)


def work(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    mine = slice(12 * rank, 12 * rank + 12)
    results = {"all": by_mean(mine), "fewer": by_sum(mine, None), "weighted": by_sum(mine, weight)}
    if rank == 0:
        torch.save(results, f"{folder}/found.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    children = []
    for rank in range(2):
        child = os.fork()
        if child == 0:
            work(rank, sys.argv[1])
            os._exit(0)
        children.append(child)
    sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


class TestParallel:
    """``DistributedDataParallel``: two processes on the CPU, by gloo."""

    def test_gradients_are_those_of_one_process(self, tmp_path: Path) -> None:
        program = tmp_path / "parallel.py"
        program.write_text(PARALLEL, encoding="utf-8")
        run = subprocess.run([sys.executable, str(program), str(tmp_path)], capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, run.stderr
        found = torch.load(tmp_path / "found.pt", weights_only=True)
        inputs, targets = samples()
        fewer = targets.clone()
        fewer[:7] = -100
        jobs = {"all": (None, targets), "fewer": (None, fewer), "weighted": (WEIGHT, fewer)}
        assert found.keys() == jobs.keys()
        for name, (weight, labels) in jobs.items():
            torch.manual_seed(0)
            network = nn.Linear(4, CLASSES)
            logits = network(inputs)
            Criterion(EVOLVED, weight=weight)(logits, labels).backward()
            expected = [*gradients(network), nn.functional.cross_entropy(logits.detach(), labels, weight)]
            torch.testing.assert_close(found[name], expected)


@pytest.mark.parametrize(
    ("make", "name"), [(trainer_progress, "transformers"), (lightning_progress, "lightning.pytorch")]
)
def test_progress_without_a_trainer(make: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(InputError, match=f"{name}, which is not imported; import it first"):
        make(Criterion("mse"))
    with pytest.raises(InputError, match=r"criterion is a str; give a lossmith\.Criterion"):
        make("mse")
