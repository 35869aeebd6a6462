"""What a backbone's features are worth on labelled data, beside the same network untrained and raw pixels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from barlow.data.source import Source
from barlow.data.sources import load_source, splits
from barlow.data.subsets import split_labelled
from barlow.evaluation.arms import evaluate_arms
from barlow.evaluation.features import Features, calibrate_batchnorm, extract, raw_samples
from barlow.evaluation.sgd_linear import sgd_linear_accuracy
from barlow.training.progress import Progress

TEST_SHARE = 0.2
"""Share of labelled data without a test split that is kept for testing, class by class."""
SPLIT_SEED = 0
"""The split of such data is the same for every run, so that runs can be compared."""
CALIBRATION_SAMPLES = 2048
"""Training samples from which the untrained network takes its BatchNorm statistics."""


@dataclass(frozen=True)
class LabelledParts:
    """Labelled data in two parts; nothing is chosen on `test`.

    Attributes:
        train: what probes are fitted and tuned on.
        test: what they are scored on.
        seen_in_pretraining: whether the test images, without labels, may have been pretrained on.
    """

    train: Source
    test: Source
    seen_in_pretraining: bool = False


@dataclass(frozen=True)
class Score:
    """Accuracies in [0, 1] of the trained features, and the rows of all arms.

    Attributes:
        evaluation: as under "evaluation" in `summary.json`; its "rows" hold trained, untrained and raw pixels.
    """

    evaluation: Mapping[str, Any] = field(repr=False)

    @property
    def knn(self) -> float:
        """Accuracy of the weighted nearest neighbours."""
        return float(self._trained["knn"])

    @property
    def linear(self) -> float:
        """Accuracy of the linear probe on all labels."""
        return float(self._trained["linear"])

    @property
    def few_labels(self) -> float:
        """Mean accuracy with few labels per class."""
        return float(self._trained["few_labels"]["mean"])

    def row(self, features: str) -> Mapping[str, Any]:
        """Return the figures of "trained", "untrained" or "raw pixels"."""
        return next(row for row in self.evaluation["rows"] if row["features"] == features)

    @property
    def _trained(self) -> Mapping[str, Any]:
        return self.row("trained")

    def __repr__(self) -> str:
        return f"Score(knn={self.knn:.4f}, linear={self.linear:.4f}, few_labels={self.few_labels:.4f})"


def labelled_parts(data: Any, *, data_root: str | Path | None = None, channels: int = 0) -> LabelledParts | None:
    """Load labelled data in training and test part: their own split, or one by class with a fixed seed.

    Returns:
        The parts, None where there are no labels.
    """
    if "test" in splits(data):
        train = load_source(data, split="labelled", data_root=data_root, channels=channels)
        test = load_source(data, split="test", data_root=data_root, channels=channels)
        return None if train.labels is None or test.labels is None else LabelledParts(train, test)
    return split_parts(load_source(data, data_root=data_root, channels=channels))


def split_parts(source: Source) -> LabelledParts | None:
    """Split a labelled source class by class with a fixed seed; None where there are no labels."""
    if source.labels is None:
        return None
    train, test = split_labelled(source, TEST_SHARE, SPLIT_SEED)
    return LabelledParts(train, test, seen_in_pretraining=True)


def calibrate(untrained: nn.Module, source: Source, plain: Callable[[Any], Any]) -> nn.Module:
    """Give an untrained network BatchNorm statistics from training data, without which it would be needlessly poor.

    Returns:
        The same network, in evaluation mode.
    """
    order = range(min(len(source), CALIBRATION_SAMPLES))
    calibrate_batchnorm(untrained, (plain(batch.samples) for batch in source.batches(order, 256)))
    return untrained.eval()


def measure(
    backbone: nn.Module,
    untrained: nn.Module | None,
    parts: LabelledParts,
    *,
    plain: Callable[[Any], Any],
    sgd_linear: bool = False,
    quiet: bool = True,
) -> Score:
    """Evaluate the backbone, its untrained twin and the raw samples, every arm tuned alike on training data.

    Args:
        backbone: plain view -> h, in evaluation mode.
        untrained: the same network before training, after `calibrate`. None where it cannot be made again.
        parts: labelled data.
        plain: batch -> what the backbone sees.
        sgd_linear: also the papers' 100 epochs of SGD, on unaugmented features, for comparison with their tables.
        quiet: no progress on the terminal.

    Returns:
        The Score.
    """
    arms: dict[str, tuple[Features, Features]] = {
        "trained": _both(backbone.eval(), parts, plain),
    }
    if untrained is not None:
        arms["untrained"] = _both(untrained.eval(), parts, plain)
    arms["raw pixels"] = (raw_samples(parts.train, plain), raw_samples(parts.test, plain))
    with Progress("evaluation", total=len(arms), quiet=quiet) as progress:
        evaluation = evaluate_arms(arms, class_names=parts.train.class_names, progress=progress.update)
    if sgd_linear:
        for row, (train, test) in zip(evaluation["rows"], arms.values(), strict=True):
            row["sgd_linear"] = sgd_linear_accuracy(train, test)
    return Score({**evaluation, "test_seen_in_pretraining": parts.seen_in_pretraining})


def _both(network: nn.Module, parts: LabelledParts, plain: Callable[[Any], Any]) -> tuple[Features, Features]:
    return extract(network, parts.train, plain=plain), extract(network, parts.test, plain=plain)
