"""What a backbone's features are worth on labelled data, beside the same network untrained and raw samples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor, nn

from barlow.data.bad_samples import left_out
from barlow.data.groups import held_out, held_out_groups
from barlow.data.labels import UNKNOWN, Labels
from barlow.data.parts import Parts, of_source
from barlow.data.subsets import relabelled, split_labelled, subset
from barlow.evaluation.arms import evaluate_arms
from barlow.evaluation.budget import SEED, Sizes, Take, decide
from barlow.evaluation.features import Features, KeptFeatures, calibrate_batchnorm, extract
from barlow.evaluation.finetune import (
    CANDIDATES,
    FinetuneNumbers,
    finetune as finetune_network,
    labelled_positions,
    num_epochs,
)
from barlow.evaluation.own_parts import evaluate_own_parts
from barlow.evaluation.published import PublishedProtocol
from barlow.evaluation.sgd_linear import BARLOW_TWINS, augmented_features, sgd_linear_accuracy
from barlow.evaluation.splits import spread_over_classes
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
        notes: sentences for the user about where the parts come from and what was left out.
        own: a split of the data's own; `train` and `test` are then all samples, and it says which are which.
        whole: what `own` is the split of, as its modality knows it.
    """

    train: Source
    test: Source
    seen_in_pretraining: bool = False
    notes: Sequence[str] = ()
    own: Parts | None = None
    whole: Source | None = None

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
    modality: Modality,
    data: Any,
    *,
    facts: Facts | None = None,
    data_root: str | Path | None = None,
    labels: Any = "auto",
    hold_out: str = "",
    **reading: Any,
) -> LabelledParts | None:
    """Load labelled data in training and test part: their own split, or one by class with a fixed seed.

    Where only one of their own parts has labels, that one is split, and the notes say so. Left out, and named in the
    notes, are samples without a label (-1) and test samples of a class that the training part lacks. `facts` are those
    of the run whose network the samples are for; None: they are taken as they are. `labels` are as `load_samples` takes
    them; `hold_out` names groups of the training part, such as "group=george,lucas", that are the test part instead.
    `reading` is what a user says of how they are to be read. Returns None where there are no labels.
    """

    def load(split: str) -> Source:
        return load_samples(modality, data, facts=facts, split=split, data_root=data_root, labels=labels, **reading)

    if hold_out:
        return parts_by_groups(load("train"), hold_out)
    if "test" in splits_of(modality, data):
        train, test = load("labelled"), load("test")
        if train.labels is not None and test.labels is not None:
            return _usable(train, _numbered_alike(train, test))
        return _split_the_labelled_one(train, test)
    return split_parts(load("train"))


def _split_the_labelled_one(train: Source, test: Source) -> LabelledParts | None:
    """Split the one of two parts that has labels, such as the training folder beside a flat test folder."""
    of_train = train.labels is not None
    labelled, bare = (train, test) if of_train else (test, train)
    parts = split_parts(labelled)
    if parts is None:
        return None
    part, other = ("training", "test") if of_train else ("test", "training")
    note = (
        f"The {other} part of {bare.name} has no labels, such as class folders ({len(bare)} samples: "
        f"{bare.describe(0)}, ...). Its {part} part has: {len(labelled)} samples of {len(labelled.class_names)} "
        "classes; a fifth of them, class by class, is what is evaluated on"
    )
    return replace(parts, seen_in_pretraining=of_train, notes=(note, *parts.notes))


def parts_by_groups(source: Source, hold_out: str) -> LabelledParts | None:
    """Split labelled data by groups: those that `hold_out` names are the test part; None where there are no labels."""
    away = held_out(source, hold_out)
    if source.labels is None:
        return None
    parts = _usable(subset(source, (~away).nonzero()), subset(source, away.nonzero()))
    note = f"held out: {', '.join(held_out_groups(hold_out))}, {len(parts.test)} of {len(source)} samples"
    return replace(parts, seen_in_pretraining=True, notes=(note, *parts.notes))


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
            parts = _usable(source, _numbered_alike(source, found, strict=True))
    except ValueError as error:
        raise ValueError(f"test: {str(error).removeprefix('data: ')}") from error
    if parts is None:
        name = test if isinstance(test, (str, Path)) else f"the {type(test).__name__} given"
        raise ValueError(f"test: {name} has no labels to evaluate with; wanted class folders or labels")
    return replace(parts, seen_in_pretraining=False)


def split_parts(source: Source) -> LabelledParts | None:
    """Split a labelled source class by class with a fixed seed; None where there are no labels.

    Samples without a label (-1) are in neither part. A split that the source brings is kept to.
    """
    if (own := of_source(source)) is not None:
        whole = relabelled(source, own.labels)
        return LabelledParts(whole, whole, seen_in_pretraining=True, own=own, whole=source)
    if source.labels is None:
        return None
    known = _with_labels(source)
    train, test = split_labelled(known, TEST_SHARE, SPLIT_SEED)
    return LabelledParts(train, test, seen_in_pretraining=True, notes=_left_out(source, known))


def set_aside(modality: Modality, data: Any, source: Source, **asked: Any) -> tuple[Source, LabelledParts]:
    """Set the test samples of labelled data aside before anything is learnt, for a method that learns from labels.

    They are those that an evaluation of `data` takes later: their own test split, or a fifth of each class, in which
    case the first of what is returned, to learn from, is `source` without them. Samples without a label stay in it.
    `asked` goes to `labelled_parts`. ValueError: labels of which no part can be tested.
    """
    own_split = not isinstance(data, Source) and "test" in splits_of(modality, data)
    parts = labelled_parts(modality, data, **asked) if own_split else split_parts(source)
    if parts is None:
        raise ValueError(f"data: {source.name} has no labels to set a part aside for the test")
    if parts.seen_in_pretraining:  # cut from the samples of `source`
        known = _with_labels(source)
        positions = torch.arange(len(source)) if known is source else known.indices  # type: ignore[attr-defined]
        kept = torch.ones(len(source), dtype=torch.bool)
        kept[positions[parts.test.indices]] = False  # type: ignore[attr-defined]
        source = subset(source, kept.nonzero())
    return source, said_aside(parts, len(source))


def said_aside(parts: LabelledParts, num_learnt: int) -> LabelledParts:
    """Return the parts with a note that no loss has seen the test samples or their labels."""
    note = (
        f"The method learns from labels: {len(parts.test)} test samples were set aside before the first step, and no "
        f"loss has seen them or their labels; {num_learnt} are learnt from"
    )
    return replace(parts, seen_in_pretraining=False, notes=(note, *parts.notes))


def _with_labels(source: Source) -> Source:
    """The samples that have a label; the same source where all have one."""
    assert source.labels is not None
    known = source.labels != UNKNOWN
    return source if bool(known.all()) else subset(source, known.nonzero())


def _left_out(*sources: Source) -> tuple[str, ...]:
    """A note on how many samples of each (source, its labelled samples) have no label."""
    pairs = list(zip(sources[::2], sources[1::2], strict=True))
    missing = sum(len(source) - len(known) for source, known in pairs)
    total = sum(len(source) for source, _ in pairs)
    return (f"{missing} of {total} samples have no label and are left out of the evaluation",) if missing else ()


def _numbered_alike(train: Source, test: Source, *, strict: bool = False) -> Source:
    """Test data whose classes have the numbers of the training data; classes of the same name are the same ones.

    With `strict`, a class that the training data do not know is refused (ValueError).
    """
    names, asked = list(train.class_names), list(test.class_names)
    used = [] if test.labels is None else test.labels.unique().tolist()
    if strict and names and asked:
        for number in used:
            if number != UNKNOWN and asked[number] not in names:
                known = f"wanted {names[number]!r} as in" if number < len(names) else "which is not among those of"
                raise ValueError(f"test: class {number} is {asked[number]!r}, {known} the training data")
    if test.labels is None or all(a == b for a, b in zip(names, asked, strict=False)):
        return test
    names += [name for name in asked if name not in names]
    places = torch.tensor([names.index(name) for name in asked] + [UNKNOWN])  # -1 takes the last of them
    return relabelled(test, Labels(places[test.labels], tuple(names)))


def _usable(train: Source, test: Source) -> LabelledParts:
    """The parts without the samples for which there is no right answer: ValueError where none is left."""
    known, asked = _with_labels(train), _with_labels(test)
    assert known.labels is not None
    assert asked.labels is not None
    notes = list(_left_out(train, known, test, asked))
    taught = torch.isin(asked.labels, known.labels)
    names = asked.class_names
    for number in asked.labels[~taught].unique().tolist():
        count = int((asked.labels == number).sum())
        name = repr(names[number]) if number < len(names) else str(number)
        notes.append(f"class {name} is in the test part only: its samples ({count}) are left out of the evaluation")
    if not bool(taught.all()):
        asked = subset(asked, taught.nonzero())
    if not len(known) or not len(asked):
        raise ValueError(f"labels: the {'test' if len(known) else 'training'} part has none to use: {'; '.join(notes)}")
    return LabelledParts(known, asked, notes=tuple(notes))


def calibrate(
    untrained: nn.Module, source: Source, plain: Callable[[Any], Any], *, most: int = CALIBRATION_SAMPLES
) -> nn.Module:
    """Give an untrained network BatchNorm statistics from training data, without which it would be needlessly poor.

    They come from a fixed random choice of `most`, because data are often sorted by class, and batches
    of one class each lack the variance between classes. Returns the same network, in evaluation mode.
    """
    number = min(len(source), most)
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


def mean_over_groups(scores: Mapping[str, Score]) -> Score:
    """Return the means of what was measured with one group left out after another; errors are over the groups."""
    evaluations = [score.evaluation for score in scores.values()]
    rows = []
    for number, first in enumerate(evaluations[0]["rows"]):
        found = [one["rows"][number] for one in evaluations]
        row = {"features": first["features"], "num_features": first["num_features"]}
        for name in ("knn", "linear"):
            values = [one[name] for one in found]
            row |= {name: fmean(values), f"{name}_error": stdev(values) / len(values) ** 0.5}
        few = [one["few_labels"]["mean"] for one in found]
        row["few_labels"] = {**first["few_labels"], "mean": fmean(few), "std": stdev(few)}
        row["groups"] = {
            name: {"knn": one["knn"], "linear": one["linear"], "few_labels": one["few_labels"]["mean"]}
            for name, one in zip(scores, found, strict=True)
        }
        rows.append(row)
    notes = [f"means over {len(scores)} groups left out one after another: {', '.join(scores)}"]
    seen = any(one["test_seen_in_pretraining"] for one in evaluations)
    in_all = {"train_samples": evaluations[0]["train_samples"], "test_samples": evaluations[0]["test_samples"]}
    classes = evaluations[0]["classes"]
    return Score({"classes": classes, **in_all, "rows": rows, "notes": notes, "test_seen_in_pretraining": seen})


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
    seconds: float | None = None,
    sizes: Sizes | None = None,
    decided: Callable[[Sizes], None] | None = None,
    kept: KeptFeatures | None = None,
    quiet: bool = True,
    modality: Modality | None = None,
) -> Score:
    """Evaluate the backbone, its untrained twin and the raw samples, every one tuned in the same way on training data.

    `untrained` is the network before training, after `calibrate`; None where it cannot be made again. `bars` are the
    raw features of the plain view by name, see `Modality.bars`; `view` is the augmentation of the protocols that
    augment, see `Modality.supervised`. Labelled data are on the device of the networks.

    `seconds` is about what features and probes of all arms may take together: where all samples would take longer, as
    many of each class are looked at as fit, the same for every arm, and "sampling" in the evaluation says so. How many
    is told to `decided` before they are, and `sizes` is what was told in an earlier call, to be kept to; None: as many
    as fit, without `seconds` all. `kept` are features that others want as well. The protocols beside the probes are
    not counted. `modality` adds what it has beside features. On a split of the data's own all samples are looked at.

    ValueError, before anything is computed: a share of the labels that leaves less than two of a class, or one to
    fine-tune on where the published protocol does not; `seconds` that are no positive number.
    """
    if parts.train.labels is not None:
        for fraction in protocols.finetune:
            labelled_positions(parts.train.labels, fraction, seed=0)
            protocols.candidates_for(fraction)
    networks = {"trained": backbone.eval()} | ({} if untrained is None else {"untrained": untrained.eval()})
    kept = kept or KeptFeatures()
    if parts.own is not None:
        return _on_own_parts(networks, parts, parts.own, plain, bars, protocols, kept, modality, quiet)
    both = (parts.train, parts.test)
    takes = {name: _take(network, both, plain, kept) for name, network in networks.items()}
    takes |= {name: _take(values, both, plain) for name, values in bars.items()}
    sizes = _sizes(takes, parts, seconds, sizes)
    if decided:
        decided(sizes)
    chosen = [_chosen(source, most) for source, most in ((parts.train, sizes.train), (parts.test, sizes.test))]
    arms = {name: (take("train", chosen[0]), take("test", chosen[1])) for name, take in takes.items()}
    with Progress("evaluation", total=len(arms), quiet=quiet) as progress:
        evaluation = evaluate_arms(arms, class_names=parts.train.class_names, progress=progress.update)
    rows = {row["features"]: row for row in evaluation["rows"]}
    if protocols.sgd_linear:
        for name, (train, test) in arms.items():
            rows[name]["sgd_linear"] = _sgd_linear(networks.get(name), train, test, parts, view, protocols)
    if protocols.finetune:
        found = _fine_tune(networks, parts, plain, view, protocols, quiet)
        for name, records in found.items():
            rows[name]["finetune"] = records
    more: dict[str, Any] = {} if sizes.whole else {"sampling": {**sizes.as_record(), "note": sizes.note}}
    if protocols.published is not None:
        more["published_protocol"] = protocols.published.as_record()
    if notes := [*parts.notes, *filter(None, map(left_out, (parts.train, parts.test)))]:
        more["notes"] = notes
    return Score({**evaluation, **more, "test_seen_in_pretraining": parts.seen_in_pretraining})


def _on_own_parts(
    networks: Mapping[str, nn.Module],
    parts: LabelledParts,
    own: Parts,
    plain: Callable[[Any], Any],
    bars: Mapping[str, Callable[[Any], Tensor]],
    protocols: Protocols,
    kept: KeptFeatures,
    modality: Modality | None,
    quiet: bool,
) -> Score:
    """The figures of `measure` on a split that the data bring."""
    if protocols != ONLY_PROBES:
        raise ValueError(
            f"protocol: {parts.train.name} brings a split of its own, on which neighbours, probe and few labels are "
            "measured; wanted none of the other protocols"
        )
    arms = {name: kept.extract(network, parts.train, plain=plain) for name, network in networks.items()}
    arms |= {name: extract(values, parts.train, plain=plain) for name, values in bars.items()}
    rivals = {} if modality is None else {
        name: partial(predict, parts.whole) for name, predict in modality.predictors.items()
    }  # fmt: skip
    with Progress("evaluation", total=len(arms) + len(rivals), quiet=quiet) as progress:
        evaluation = evaluate_own_parts(arms, own, predictors=rivals, progress=progress.update)
    if modality is not None and modality.readings is not None and parts.whole is not None:
        for row in evaluation["rows"]:
            if row["features"] in arms:
                row["readings"] = modality.readings(parts.whole, arms[row["features"]])
    notes = [f"measured on {own.name}", *parts.notes, *filter(None, [left_out(parts.train)])]
    return Score({**evaluation, "notes": notes, "test_seen_in_pretraining": parts.seen_in_pretraining})


def _sgd_linear(
    network: nn.Module | None,
    train: Features,
    test: Features,
    parts: LabelledParts,
    view: View | None,
    protocols: Protocols,
) -> float:
    """The papers' linear protocol on features, or on crops and flips drawn anew where there is a network."""
    seen: Any = train
    if protocols.augmented and view is not None and network is not None:
        seen = augmented_features(network, parts.train, view)
    numbers = BARLOW_TWINS if protocols.published is None else protocols.published.linear
    return sgd_linear_accuracy(seen, test, numbers)


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


def _take(
    represent: Callable[[Any], Tensor],
    both: tuple[Source, Source],
    plain: Callable[[Any], Any],
    kept: KeptFeatures | None = None,
) -> Take:
    """Features of the training or the test part; raw samples are read again sooner than kept."""
    extracted = extract if kept is None else kept.extract

    def take(part: str, positions: list[int]) -> Features:
        return extracted(represent, both[part == "test"], plain=plain, order=positions)

    return take


def _sizes(takes: Mapping[str, Take], parts: LabelledParts, seconds: float | None, given: Sizes | None) -> Sizes:
    num_train, num_test = len(parts.train), len(parts.test)
    if given is not None and given.fits(num_train, num_test):
        return given
    if seconds is None or parts.train.labels is None or parts.test.labels is None:
        return Sizes(num_train, num_test, num_train, num_test, 0.0)
    return decide(takes, parts.train.labels, parts.test.labels, seconds=seconds)


def _chosen(source: Source, most: int) -> list[int]:
    if source.labels is None or most >= len(source):
        return list(range(len(source)))
    return spread_over_classes(source.labels, most=most, seed=SEED).tolist()
