"""What `barlow label` chooses against random samples: test accuracy of a classifier with 10, 50 and 100 labels.

    python benchmarks/to_label.py RUN photos/train photos/test

Both kinds of labels go to the same classifier (`features/classifier.py`), which is tested on all pictures of the second
folder. The choice uses no label.
"""

import argparse
import statistics
from pathlib import Path

import torch
from torch import Tensor

from barlow import open_run
from barlow.evaluation.knn import fit_whitening
from barlow.features.classifier import fit_classifier
from barlow.features.to_label import choose_to_label

NUMBERS = (10, 50, 100)


def accuracy(h: Tensor, y: Tensor, test_h: Tensor, test_y: Tensor, names: tuple[str, ...]) -> float:
    """Fit to a few labels and score on the test pictures."""
    classifier = fit_classifier(h, y, names, fit_whitening(test_h), 1.0)
    return float((classifier.probabilities(test_h).argmax(dim=1) == test_y).double().mean())


def main() -> None:
    """Choose, fit, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--seeds", type=int, default=5)
    flags = parser.parse_args()
    run = open_run(flags.run)
    train, test = (run.sampled(data).embeddings for data in (flags.train, flags.test))
    if train.labels is None or test.labels is None or train.class_names != test.class_names:
        raise SystemExit("both folders need class folders of the same names")
    names = tuple(train.class_names)
    print("| labels | random | chosen |\n|--:|--:|--:|")
    for number in NUMBERS:
        cells = []
        for chosen in (False, True):
            found = []
            for seed in range(flags.seeds):
                generator = torch.Generator().manual_seed(seed)
                drawn = torch.randperm(len(train.h), generator=generator)[:number].tolist()
                rows = choose_to_label(train.h, number, seed=seed) if chosen else drawn
                found.append(100 * accuracy(train.h[rows], train.labels[rows], test.h, test.labels, names))
            cells.append(f"{statistics.fmean(found):.1f} ± {statistics.stdev(found):.1f}")
        print(f"| {number} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
