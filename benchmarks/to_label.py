"""What `barlow label` chooses against random samples: test accuracy of a classifier with 10, 50 and 100 labels.

    python benchmarks/to_label.py RUN photos/train photos/test
    python benchmarks/to_label.py RUN fashion/train.npz fashion/held.npz --ways random label cover

Every choice gives its labels to the same classifier (`features/classifier.py`), which is tested on all of the second
data. No choice uses a label. Differences from random are paired by seed, with 95% intervals (t, seeds - 1 degrees).
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.stats import t as student
from sklearn.cluster import KMeans
from torch import Tensor

from barlow import open_run
from barlow.evaluation.knn import fit_whitening
from barlow.features.classifier import fit_classifier
from barlow.features.space import HALF, fit_space
from barlow.features.to_label import choose_to_label

NUMBERS = (10, 50, 100)
PURITY = 0.95
"""Share of balls whose samples are all of one k-means group, by which their radius is chosen (ProbCover)."""


def drawn(h: Tensor, number: int, seed: int) -> list[int]:
    """Return random samples."""
    return torch.randperm(len(h), generator=torch.Generator().manual_seed(seed))[:number].tolist()


def label(h: Tensor, number: int, seed: int) -> list[int]:
    """Return what `barlow label` chooses."""
    return choose_to_label(h, number, seed=seed)


def cover(h: Tensor, number: int, seed: int) -> list[int]:
    """Return samples whose balls cover most others, one after another (ProbCover, Yehuda et al. 2022)."""
    generator = torch.Generator().manual_seed(seed)
    some = torch.randperm(len(h), generator=generator)[: min(len(h), 3000)]
    rows = fit_space(h, power=HALF).rows(h[some])
    groups = torch.from_numpy(KMeans(10, n_init=3, random_state=seed).fit(rows.numpy()).labels_.astype(np.int64))
    distances = torch.cdist(rows, rows)
    other = distances.masked_fill(groups[:, None] == groups[None, :], torch.inf).min(dim=1).values
    near = distances <= float(other.quantile(1 - PURITY))  # of 95 in 100 the ball has one group only
    open_to = torch.ones(len(rows), dtype=torch.bool)
    found: list[int] = []
    for _ in range(number):
        gains = (near & open_to[None, :]).sum(dim=1).float() + 0.5 * torch.rand(len(rows), generator=generator)
        gains[found] = -1.0
        best = int(gains.argmax())
        found.append(best)
        open_to &= ~near[best]
    return some[found].tolist()


WAYS: dict[str, Callable[[Tensor, int, int], list[int]]] = {
    "random": drawn,
    "label": label,
    "cover": cover,
}


def accuracy(h: Tensor, y: Tensor, test_h: Tensor, test_y: Tensor, names: tuple[str, ...]) -> float:
    """Fit to a few labels and score on the test pictures, in percent."""
    classifier = fit_classifier(h, y, names, fit_whitening(test_h), 1.0)
    return 100 * float((classifier.probabilities(test_h).argmax(dim=1) == test_y).double().mean())


def cell(found: list[float], base: list[float]) -> str:
    """Return "27.3 (+3.1 ± 2.0)": the mean, and the paired difference from random with its 95% interval."""
    gaps = [a - b for a, b in zip(found, base, strict=True)]
    if not any(gaps):
        return f"{statistics.fmean(found):.1f} ± {statistics.stdev(found):.1f}"
    half = float(student.ppf(0.975, len(gaps) - 1)) * statistics.stdev(gaps) / len(gaps) ** 0.5
    return f"{statistics.fmean(found):.1f} ({statistics.fmean(gaps):+.1f} ± {half:.1f})"


def main() -> None:
    """Choose, fit, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--ways", nargs="+", default=["random", "label"], choices=list(WAYS))
    flags = parser.parse_args()
    run = open_run(flags.run)
    train, test = (run.sampled(data).embeddings for data in (flags.train, flags.test))
    if train.labels is None or test.labels is None or train.class_names != test.class_names:
        raise SystemExit("both need labels of the same classes")
    names = tuple(train.class_names) or tuple(map(str, range(int(train.labels.max()) + 1)))
    print(f"| labels | {' | '.join(flags.ways)} |\n|--:|{'--:|' * len(flags.ways)}")
    for number in NUMBERS:
        found: dict[str, list[float]] = {}
        for way in flags.ways:
            chosen = [WAYS[way](train.h, number, seed) for seed in range(flags.seeds)]
            found[way] = [accuracy(train.h[r], train.labels[r], test.h, test.labels, names) for r in chosen]
        print(f"| {number} | {' | '.join(cell(found[way], found[flags.ways[0]]) for way in flags.ways)} |", flush=True)


if __name__ == "__main__":
    main()
