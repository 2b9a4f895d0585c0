"""Hugging Face: evolve a loss for your own fine-tuning with the Trainer, then compare it with fresh seeds.

The Trainer does all training; `lossmith.Study` proposes losses and keeps every answer, so that the search goes on
after a crash. The model is a tiny BERT made from a configuration, and the task a toy: sentences of invented words,
some of which tell the topic, with 40 % of the labels for training wrong. Put your model and data in their place.

    python examples/huggingface.py   # with the extra `integrations`, or transformers and accelerate installed
"""

import statistics
import tempfile

import torch
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification, PrinterCallback, Trainer, TrainingArguments

import lossmith
from lossmith.integrations import trainer_loss, trainer_metrics

TOPICS, WORDS, LENGTH = 4, 60, 12
BASELINES = ["cross-entropy", "label-smoothing:0.1"]


def sentences(count: int, wrong: float, seed: int) -> list[dict[str, Tensor]]:
    """Sentences of word numbers; three words of each come from the ten words of its topic."""
    generator = torch.Generator().manual_seed(seed)
    topics = torch.randint(TOPICS, (count,), generator=generator)
    words = torch.randint(10 * TOPICS, WORDS, (count, LENGTH), generator=generator)
    words[:, 1:4] = 10 * topics[:, None] + torch.randint(10, (count, 3), generator=generator)
    shift = torch.randint(1, TOPICS, (count,), generator=generator)
    labels = torch.where(torch.rand(count, generator=generator) < wrong, (topics + shift) % TOPICS, topics)
    return [{"input_ids": w, "labels": y} for w, y in zip(words, labels, strict=True)]


TRAINING, VALIDATION = sentences(240, wrong=0.4, seed=0), sentences(400, wrong=0.4, seed=1)
TEST = sentences(500, wrong=0, seed=2)


def fine_tuned(criterion: lossmith.Criterion, seed: int, folder: str) -> Trainer:
    """Your fine-tuning: the two last arguments of the Trainer are all that is of lossmith."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=LENGTH,
        num_labels=TOPICS,
    )
    arguments = TrainingArguments(
        output_dir=folder,
        num_train_epochs=14,
        per_device_train_batch_size=20,
        gradient_accumulation_steps=2,  # The gradient is the same as in batches of 40.
        per_device_eval_batch_size=500,
        learning_rate=0.005,
        seed=seed,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(
        BertForSequenceClassification(config),
        arguments,
        train_dataset=TRAINING,
        eval_dataset=VALIDATION,
        compute_loss_func=trainer_loss(criterion),
        compute_metrics=trainer_metrics(criterion),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return trainer


def evolved(folder: str) -> lossmith.Loss:
    """The best of 16 losses by validation accuracy, whose labels are as wrong as those for training."""
    with lossmith.Study(f"{folder}/study", classes=TOPICS, population=4, generations=4, seed=0) as study:
        while (candidate := study.ask()) is not None:
            found = fine_tuned(candidate.criterion, candidate.generation, folder).evaluate()
            study.tell(candidate, found["eval_accuracy"])
        return study.best().loss


def main() -> None:
    """Search, then train the winner and two known losses with fresh seeds, and print a table of clean test data."""
    with tempfile.TemporaryDirectory() as folder:
        criteria = {name: lossmith.Criterion(name, classes=TOPICS) for name in BASELINES}
        criteria["evolved"] = lossmith.Criterion(evolved(folder))
        print(f"evolved: {criteria['evolved'].loss.formula()}\n")
        print(f"{'loss':22}{'test accuracy':>18}{'cross-entropy':>16}")
        for name, criterion in criteria.items():
            runs = [fine_tuned(criterion, seed, folder).evaluate(TEST) for seed in (101, 102, 103)]
            shares = [100 * run["eval_accuracy"] for run in runs]
            spread = f"{statistics.mean(shares):.1f} ± {statistics.stdev(shares):.1f} %"
            value = statistics.mean(run["eval_cross_entropy"] for run in runs)
            print(f"{name:22}{spread:>18}{value:16.3f}")


if __name__ == "__main__":
    main()
