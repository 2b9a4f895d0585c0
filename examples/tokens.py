"""Sequences of tokens, padded, with a network of one's own: an embedding and an LSTM.

    python examples/tokens.py

Reviews come as token ids of uneven lengths. ``lossmith.evolve`` pads them, and the network is told how many ids there
are and which one is padding. A third of the labels of training are wrong; those of the test are right.
"""

import sys
import tempfile

import torch
from torch import Tensor, nn

import lossmith

WORDS, PADDING = 60, 0
GOOD, BAD = range(1, 11), range(11, 21)


class Reader(nn.Module):
    """Embedding, LSTM, and the last state of each sequence that is no padding."""

    def __init__(self, _shape: tuple[int, ...], classes: int, vocabulary: int = WORDS, padding_id: int = PADDING):
        super().__init__()
        self.padding_id = padding_id
        self.embedding = nn.Embedding(vocabulary, 12, padding_idx=padding_id)
        self.lstm = nn.LSTM(12, 16, batch_first=True)
        self.head = nn.Linear(16, classes)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids ``[N, L]`` → logits ``[N, K]``."""
        states, _ = self.lstm(self.embedding(ids))
        last = (ids != self.padding_id).sum(1).clamp(min=1) - 1
        return self.head(states[torch.arange(len(ids), device=ids.device), last])


def reviews(count: int, seed: int) -> tuple[list[list[int]], list[str]]:
    """Reviews of 4 to 12 words, and whether more of them are good ones than bad ones."""
    generator = torch.Generator().manual_seed(seed)
    texts, labels = [], []
    while len(texts) < count:
        length = int(torch.randint(4, 13, (), generator=generator))
        words = torch.randint(1, WORDS, (length,), generator=generator).tolist()
        mood = sum(word in GOOD for word in words) - sum(word in BAD for word in words)
        if mood:
            texts.append(words)
            labels.append("good" if mood > 0 else "bad")
    return texts, labels


def main() -> None:
    """Evolve a loss for the reader, compare it, and print the table."""
    out = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="tokens-")
    result = lossmith.evolve(
        Reader,
        reviews(500, seed=0),
        test=reviews(400, seed=1),
        kind="tokens",
        label_noise=0.3,
        out=out,
        optimizer="adamw",
        epochs=8,
        batch_size=50,
        lr=0.02,
        population=6,
        generations=3,
        finalists=1,
        finalist_seeds=3,
        tune=False,
    )
    print(result)
    print(result.compare(["label-smoothing"], seeds=3, effort="quick"))


if __name__ == "__main__":
    main()
