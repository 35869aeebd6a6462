"""What a backbone's features are worth on labelled data, beside the same network untrained and raw samples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from barlow.data.subsets import split_labelled
from barlow.evaluation.arms import evaluate_arms
from barlow.evaluation.features import Features, calibrate_batchnorm, extract
from barlow.evaluation.finetune import (
    CANDIDATES,
    FinetuneNumbers,
    finetune as finetune_network,
    labelled_positions,
    num_epochs,
)
from barlow.evaluation.published import PublishedProtocol
from barlow.evaluation.sgd_linear import BARLOW_TWINS, augmented_features, sgd_linear_accuracy
from barlow.modalities import load_samples, splits_of
from barlow.seams import Facts, Modality, OnDevice, Source, View
from barlow.training.progress import Progress

TEST_SHARE = 0.2
"""Share of labelled data without a test split that is kept for testing, class by class."""
SPLIT_SEED = 0
"""The split of such data is the same for every run, so that runs can be compared."""
CALIBRATION_SAMPLES = 2048
"""Training samples from which the untrained network takes its BatchNorm statistics."""
CALIBRATION_BATCH = 256
CALIBRATION_SEED = 0
"""The same samples for every network, so that runs can be compared."""


@dataclass(frozen=True)
class LabelledParts:
    """Labelled data in two parts; nothing is chosen on `test`, on which probes are scored.

    Attributes:
        seen_in_pretraining: whether the test samples, without labels, may have been pretrained on.
    """

    train: Source
    test: Source
    seen_in_pretraining: bool = False

    def on(self, device: torch.device) -> "LabelledParts":
        """Return the same parts with their samples on a device."""
        return replace(self, train=OnDevice(self.train, device), test=OnDevice(self.test, device))


@dataclass(frozen=True)
class Score:
    """Accuracies in [0, 1] of the trained features, and the rows of all arms.

    Attributes:
        evaluation: as under "evaluation" in `summary.json`; its "rows" hold trained, untrained and the raw samples.
        kept: the file in the run folder that holds them, None where they were not kept.
    """

    evaluation: Mapping[str, Any] = field(repr=False)
    kept: Path | None = None

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

    @property
    def finetune(self) -> dict[float, float]:
        """Accuracy of the fine-tuned network by share of the labels; empty where it was not measured."""
        return {found["fraction"]: found["accuracy"] for found in self._trained.get("finetune", ())}

    def row(self, features: str) -> Mapping[str, Any]:
        """Return the figures of "trained", "untrained", or of a bar such as "raw pixels"."""
        return next(row for row in self.evaluation["rows"] if row["features"] == features)

    @property
    def _trained(self) -> Mapping[str, Any]:
        return self.row("trained")

    def __repr__(self) -> str:
        return f"Score(knn={self.knn:.4f}, linear={self.linear:.4f}, few_labels={self.few_labels:.4f})"


def labelled_parts(
    modality: Modality, data: Any, *, facts: Facts | None = None, data_root: str | Path | None = None
) -> LabelledParts | None:
    """Load labelled data in training and test part: their own split, or one by class with a fixed seed.

    `facts` are those of the run whose network the samples are for; None: they are taken as they are. Returns None where
    there are no labels.
    """

    def load(split: str) -> Source:
        return load_samples(modality, data, facts=facts, split=split, data_root=data_root)

    if "test" in splits_of(modality, data):
        train, test = load("labelled"), load("test")
        return None if train.labels is None or test.labels is None else LabelledParts(train, test)
    return split_parts(load("train"))


def parts_with_test(
    modality: Modality,
    test: Any,
    source: Source,
    *,
    facts: Facts | None = None,
    data_root: str | Path | None = None,
) -> LabelledParts:
    """Load labelled data that a run did not learn from (their test split where they have one), to test its features on.

    Probes are fitted on `source`, what the run learns from; where it has no labels, both parts come from `test`.
    `facts` as for `labelled_parts`. ValueError: data that cannot be loaded, have no labels, or have other classes than
    `source`.
    """
    try:
        if source.labels is None:
            parts = labelled_parts(modality, test, facts=facts, data_root=data_root)
        else:
            split = "test" if "test" in splits_of(modality, test) else "train"
            found = load_samples(modality, test, facts=facts, split=split, data_root=data_root, labels="required")
            parts = LabelledParts(source, found)
    except ValueError as error:
        raise ValueError(f"test: {str(error).removeprefix('data: ')}") from error
    if parts is None:
        name = test if isinstance(test, (str, Path)) else f"the {type(test).__name__} given"
        raise ValueError(f"test: {name} has no labels to evaluate with; wanted class folders or labels")
    for number, (known, asked) in enumerate(zip(parts.train.class_names, parts.test.class_names, strict=False)):
        if known != asked:  # numbered in another way, so that every answer would count as wrong
            raise ValueError(f"test: class {number} is {asked!r}, wanted {known!r} as in the training data")
    return replace(parts, seen_in_pretraining=False)


def split_parts(source: Source) -> LabelledParts | None:
    """Split a labelled source class by class with a fixed seed; None where there are no labels."""
    if source.labels is None:
        return None
    train, test = split_labelled(source, TEST_SHARE, SPLIT_SEED)
    return LabelledParts(train, test, seen_in_pretraining=True)


def calibrate(untrained: nn.Module, source: Source, plain: Callable[[Any], Any]) -> nn.Module:
    """Give an untrained network BatchNorm statistics from training data, without which it would be needlessly poor.

    They come from a fixed random choice of `CALIBRATION_SAMPLES`, because data are often sorted by class, and batches
    of one class each lack the variance between classes. Returns the same network, in evaluation mode.
    """
    number = min(len(source), CALIBRATION_SAMPLES)
    number -= number % CALIBRATION_BATCH if number > CALIBRATION_BATCH else 0  # batches count equally: all of one size
    order = torch.randperm(len(source), generator=torch.Generator().manual_seed(CALIBRATION_SEED))[:number].tolist()
    calibrate_batchnorm(untrained, (plain(batch.samples) for batch in source.batches(order, CALIBRATION_BATCH)))
    return untrained.eval()


@dataclass(frozen=True)
class Protocols:
    """What is measured beside neighbours, linear probe and few labels; all of it costs more.

    Attributes:
        sgd_linear: the papers' linear protocol, by default 100 epochs of SGD.
        augmented: that protocol on crops and flips drawn anew in every epoch, as officially; 100 passes through each
            network. False: on the features of unaugmented samples, computed once.
        finetune: shares of the labels to fine-tune the whole network on, such as (0.01, 0.1, 1.0).
        candidates: numbers that each network chooses from for that.
        published: whose numbers to use instead, for both; None: those of Barlow Twins and `candidates`.
    """

    sgd_linear: bool = False
    augmented: bool = False
    finetune: Sequence[float] = ()
    candidates: Sequence[FinetuneNumbers] = CANDIDATES
    published: PublishedProtocol | None = None

    def candidates_for(self, fraction: float) -> Sequence[FinetuneNumbers]:
        """Return the numbers of fine-tuning on a share of the labels: to choose from, or published ones."""
        return self.candidates if self.published is None else (self.published.numbers_for(fraction),)


ONLY_PROBES = Protocols()


def measure(
    backbone: nn.Module,
    untrained: nn.Module | None,
    parts: LabelledParts,
    *,
    plain: Callable[[Any], Any],
    bars: Mapping[str, Callable[[Any], Tensor]],
    view: View | None = None,
    protocols: Protocols = ONLY_PROBES,
    quiet: bool = True,
) -> Score:
    """Evaluate the backbone, its untrained twin and the raw samples, every one tuned in the same way on training data.

    `untrained` is the network before training, after `calibrate`; None where it cannot be made again. `bars` are the
    raw features of the plain view by name, see `Modality.bars`; `view` is the augmentation of the protocols that
    augment, see `Modality.supervised`. Labelled data are on the device of the networks.

    ValueError, before anything is computed: a share of the labels that leaves less than two of a class, or one to
    fine-tune on where the published protocol does not.
    """
    if parts.train.labels is not None:
        for fraction in protocols.finetune:
            labelled_positions(parts.train.labels, fraction, seed=0)
            protocols.candidates_for(fraction)
    networks = {"trained": backbone.eval()} | ({} if untrained is None else {"untrained": untrained.eval()})
    arms: dict[str, tuple[Features, Features]]
    arms = {name: _both(network, parts, plain) for name, network in networks.items()}
    arms |= {name: _both(values, parts, plain) for name, values in bars.items()}
    with Progress("evaluation", total=len(arms), quiet=quiet) as progress:
        evaluation = evaluate_arms(arms, class_names=parts.train.class_names, progress=progress.update)
    rows = {row["features"]: row for row in evaluation["rows"]}
    if protocols.sgd_linear:
        for name, (train, test) in arms.items():
            network = networks.get(name)
            seen: Any = train
            if protocols.augmented and view is not None and network is not None:
                seen = augmented_features(network, parts.train, view)
            numbers = BARLOW_TWINS if protocols.published is None else protocols.published.linear
            rows[name]["sgd_linear"] = sgd_linear_accuracy(seen, test, numbers)
    if protocols.finetune:
        found = _fine_tune(networks, parts, plain, view, protocols, quiet)
        for name, records in found.items():
            rows[name]["finetune"] = records
    published = {} if protocols.published is None else {"published_protocol": protocols.published.as_record()}
    return Score({**evaluation, **published, "test_seen_in_pretraining": parts.seen_in_pretraining})


def _fine_tune(
    networks: Mapping[str, nn.Module],
    parts: LabelledParts,
    plain: Callable[[Any], Any],
    view: View | None,
    protocols: Protocols,
    quiet: bool,
) -> dict[str, list[dict[str, Any]]]:
    """Return the records of every network, one per share of the labels."""
    total = len(networks) * sum(num_epochs(protocols.candidates_for(fraction)) for fraction in protocols.finetune)
    done = 0
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in networks}
    with Progress("fine-tuning", total=total, quiet=quiet) as progress:
        for fraction in protocols.finetune:
            for name, network in networks.items():

                def show(doing: str, name: str = name) -> None:
                    nonlocal done
                    done += 1
                    progress.update(done, f"{name}, {doing}")

                outcome = finetune_network(
                    network, parts.train, parts.test, fraction,
                    plain=plain, view=view, candidates=protocols.candidates_for(fraction), progress=show,
                )  # fmt: skip
                found[name].append(outcome.as_record())
    return found


def _both(
    represent: Callable[[Any], Tensor], parts: LabelledParts, plain: Callable[[Any], Any]
) -> tuple[Features, Features]:
    return extract(represent, parts.train, plain=plain), extract(represent, parts.test, plain=plain)
