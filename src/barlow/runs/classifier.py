"""From labelled samples of a run to a classifier in a folder, on frozen features or fine-tuned, and its predictions."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from barlow.data.groups import Groups, groups_of
from barlow.data.labels import Labels
from barlow.data.order import evenly_spaced
from barlow.data.subsets import SubsetSource
from barlow.evaluation.arms import binomial_error
from barlow.evaluation.features import extract
from barlow.evaluation.finetune import finetune_early
from barlow.evaluation.knn import fit_whitening
from barlow.features.classifier import (
    FEW,
    Classifier,
    answers,
    fit_classifier,
    fit_linear,
    held_out_parts,
    judge,
    linear_of_layer,
    load_classifier,
    save_classifier,
    with_unknown,
)
from barlow.files import durable_file
from barlow.formats import printable
from barlow.modalities import load_samples, splits_of
from barlow.report.classifier_page import write_classifier_page
from barlow.runs.build import as_it_began, named_backbone, save_backbone, untrained_backbone
from barlow.runs.features import Sampled, chosen_to_label, quoted, rows_named
from barlow.seams import OnDevice, Source
from barlow.training.engine import device_of
from barlow.training.progress import Progress

FEW_TUNED = 100
"""Labels up to which each is held out in its turn where networks are fine-tuned, which costs a training every time."""
MOST_OTHERS = 5000
"""Samples, labelled or not, that tell a fine-tuned network's usual features."""
NAMES = {
    "trained": "trained",
    "untrained": "untrained",
    "fine-tuned": "fine-tuned",
    "from scratch": "fine-tuned from scratch",
}
"""What the rows of networks are called on the terminal and the page."""
PAGE = "classifier.html"


@dataclass(frozen=True)
class Trained:
    """A classifier, where it is, and how good it is on held-out labels, beside other features.

    Attributes:
        folder: of the model, which `predict` reads.
        classifier: of the features of the network in it.
        scores: by kind of features "accuracy", "error", "confidence", "num_samples", "recalls", and where there are
            test data "test": "accuracy", "error" and "num_samples" there.
        single: classes with one label: the classifier knows them, but their held-out score is 0.
        notes: what a reader of the scores has to know.
        page: with the scores.
    """

    folder: Path
    classifier: Classifier
    scores: Mapping[str, Mapping[str, Any]]
    single: Sequence[str] = ()
    notes: Sequence[str] = ()
    page: Path | None = None


@dataclass(frozen=True)
class _Labelled:
    """Samples with labels: a source of them alone, and what of them is known."""

    source: SubsetSource
    y: Tensor
    classes: tuple[str, ...]
    groups: Tensor | None
    few: int


@dataclass(frozen=True)
class _Tested:
    """Labelled data that nothing learns from; classes are those of the classifier, -1 for one that it has not."""

    source: Source
    y: Tensor
    note: str


@dataclass
class _Arm:
    """One kind of features: what gives them, or the network that is fine-tuned."""

    represent: Callable[[Any], Tensor]
    tuned: bool = False
    score: dict[str, Any] = field(default_factory=dict)
    temperature: float = 1.0


def labelled_rows(of: Sampled, labels: Mapping[str, str] | None) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Return (rows, classes, names of classes) of the labelled samples: by a csv, or as the data carry them."""
    if labels is None:
        own = of.embeddings.labels
        if own is None or not bool((own >= 0).any()):
            raise ValueError("labels: the data carry none, wanted class folders or a csv with name and label")
        rows = (own >= 0).nonzero()[:, 0]
        return rows, own[rows], tuple(of.embeddings.class_names)
    if not labels:
        raise ValueError("labels: got a csv without a filled line, wanted a label for some of its names")
    classes = tuple(sorted(set(labels.values())))
    rows = torch.tensor(rows_named(of, labels, "labels"))
    return rows, torch.tensor([classes.index(label) for label in labels.values()]), classes


def classify(
    of: Sampled,
    out: Path,
    *,
    labels: Mapping[str, str] | None = None,
    finetune: bool = False,
    test: Any = None,
    data_root: str | Path | None = None,
    quiet: bool = True,
) -> Trained:
    """Fit a classifier to labelled samples, and write it, with the network, to a folder that `predict` reads.

    Args:
        of: features of some data, and the samples.
        out: folder of the model.
        labels: class by name of sample, or by the end of its path; None: those that the data carry.
        finetune: train the network on the labels too, as long as some of them that are held out say.
        test: labelled data on which all are scored and that nothing learns from.
        data_root: where named data sets live.
        quiet: no progress on the terminal.

    Raises:
        ValueError: names that are no samples, too few labels, or test data without labels.
    """
    rows, y, classes = labelled_rows(of, labels)
    counts = y.bincount(minlength=len(classes)).tolist()
    if sum(number > 0 for number in counts) < 2 or max(counts) < 2:
        raise ValueError(f"labels: got {len(y)} of {', '.join(classes)}, wanted two classes, and two of one of them")
    tested = None if test is None else _test_data(of, test, classes, data_root)
    own = _labelled(of, rows, y, classes, FEW_TUNED if finetune else FEW)
    arms = _arms(of, finetune)
    wanted, made = "fine-tuned" if finetune else "trained", list[tuple[Classifier, nn.Module]]()
    for name, arm in arms.items():
        Progress("classify", 0, quiet=quiet).say(f"classify: {NAMES.get(name, name)}")
        fit = _tuned if arm.tuned else _frozen
        made += fit(of, arm, own, rows if name == "trained" else None, tested, name == wanted)
    ((classifier, network),), table = made, {name: arm.score for name, arm in arms.items()}
    single = tuple(name for name, number in zip(classes, counts, strict=True) if number == 1)
    notes = _notes(of, rows, labels, own, single, tested)
    about = {"scores": table, "num_labels": len(y), "run": str(of.run.folder.resolve()), "finetuned": finetune}
    _copy_network(of.run.folder, out)
    if finetune:
        save_backbone(of.run.modality, out / "checkpoints", network, of.run.recipe, of.run.facts)
    save_classifier(out, classifier, {**about, "notes": list(notes)})
    page = write_classifier_page(out / PAGE, of.source.name, classes, counts, table, NAMES, notes, str(out))
    return Trained(out, classifier, table, single, notes, page)


def _labelled(of: Sampled, rows: Tensor, y: Tensor, classes: tuple[str, ...], few: int) -> _Labelled:
    positions, groups = of.positions[rows], groups_of(of.source)
    own = None if groups is None else Groups(groups.values[positions], groups.names)
    source = SubsetSource(of.source, positions, Labels(y, classes), own)
    return _Labelled(source, y, classes, None if own is None else own.values, few)


def _test_data(of: Sampled, data: Any, classes: Sequence[str], data_root: str | Path | None) -> _Tested:
    """Labelled data with the classes of the labels, by name; samples of other classes count as wrong."""
    split = "test" if "test" in splits_of(of.run.modality, data) else "train"
    asked: dict[str, Any] = {"facts": of.run.facts, "data_root": data_root, "min_samples": 1, "memory_budget": 0}
    source = load_samples(of.run.modality, data, split=split, **asked)
    if source.labels is None:
        raise ValueError(f"test: {source.name} has no labels, wanted class folders or labels")
    names = tuple(source.class_names) or tuple(map(str, range(int(source.labels.max()) + 1)))
    place = torch.tensor([classes.index(name) if name in classes else -1 for name in names] + [-1])
    y = place[source.labels]
    if not bool((y >= 0).any()):
        raise ValueError(f"test: {source.name} has the classes {', '.join(names)}, wanted {', '.join(classes)}")
    known = (source.labels >= 0).nonzero()[:, 0]
    others = int((y[known] < 0).sum())
    note = f"test: {len(known):,} samples of {source.name}, from which nothing was learnt here"
    note += f"; {others:,} of classes without a label count as wrong" if others else ""
    return _Tested(SubsetSource(source, known), y[known], note)


def _arms(of: Sampled, finetune: bool) -> dict[str, _Arm]:
    """The networks and bars that are scored, by name; fine-tuning beside the same network from scratch."""
    run, found = of.run, {"trained": _Arm(of.run.backbone)}
    if named_backbone(run.modality, run.recipe):
        twin = untrained_backbone(run.modality, run.recipe, run.facts)
        found["untrained"] = _Arm(as_it_began(twin, run.recipe, of.source, run.views.bare().plain))
    found |= {name: _Arm(represent) for name, represent in run.modality.bars.items()}
    if finetune:
        found["fine-tuned"] = _Arm(run.backbone, tuned=True)
        if "untrained" in found:
            found["from scratch"] = _Arm(found["untrained"].represent, tuned=True)
    return found


def _frozen(
    of: Sampled, arm: _Arm, own: _Labelled, rows: Tensor | None, tested: _Tested | None, last: bool
) -> list[tuple[Classifier, nn.Module]]:
    """Score a linear classifier of frozen features; of the last arm return it, fitted to all labels."""
    plain = of.run.views.bare().plain
    h = of.h[rows] if rows is not None else _features(arm.represent, own.source, plain)
    score, temperature = judge(h, own.y, len(own.classes), own.groups, few=own.few)
    arm.score |= score.as_record()
    if tested is not None:
        linear = fit_linear(h, own.y, len(own.classes), own.groups)
        arm.score["test"] = _accuracy(linear(_features(arm.represent, tested.source, plain)), tested.y)
    if not last:
        return []
    return [(fit_classifier(h, own.y, own.classes, fit_whitening(of.h), temperature, own.groups), of.run.backbone)]


def _tuned(
    of: Sampled, arm: _Arm, own: _Labelled, rows: Tensor | None, tested: _Tested | None, last: bool
) -> list[tuple[Classifier, nn.Module]]:
    """Score fine-tuning of a network; of the last arm return it, tuned on all labels."""
    run, device = of.run, device_of("auto")
    network, plain = arm.represent, run.views.bare().plain
    assert isinstance(network, nn.Module)
    home = next((one.device for one in network.parameters()), torch.device("cpu"))
    source = OnDevice(own.source, device)

    def fitted(positions: Tensor) -> nn.Sequential:
        return finetune_early(
            network.to(device),
            source,
            positions,
            plain=plain,
            view=run.modality.supervised(run.views),
            groups=own.groups,
        ).classifier

    def logits(fit: Tensor, held: Tensor) -> Tensor:
        tuned = fitted(fit.nonzero()[:, 0])
        h = extract(tuned[0], source, plain=plain, order=held.nonzero()[:, 0].tolist()).h
        return linear_of_layer(_layer(tuned), len(own.classes))(h)

    score, temperature = answers(held_out_parts(own.y, own.groups, few=own.few), own.y, logits).score()
    arm.score |= score.as_record()
    if not last and tested is None:
        network.to(home)
        return []
    tuned = fitted(torch.arange(len(own.y)))
    network.to(home)
    linear = linear_of_layer(_layer(tuned), len(own.classes))
    if tested is not None:
        arm.score["test"] = _accuracy(linear(_features(tuned[0], OnDevice(tested.source, device), plain)), tested.y)
    if not last:
        return []
    h = extract(tuned[0], source, plain=plain).h
    usual = [int(of.positions[row]) for row in evenly_spaced(len(of.positions), MOST_OTHERS)]
    others = extract(tuned[0], OnDevice(of.source, device), plain=plain, order=usual).h
    return [(with_unknown(linear, h, own.classes, fit_whitening(others), temperature), tuned[0].cpu())]


def _layer(tuned: nn.Sequential) -> nn.Linear:
    layer = tuned[1]
    assert isinstance(layer, nn.Linear)
    return layer


def _features(represent: Callable[[Any], Tensor], source: Source, plain: Callable[[Any], Any]) -> Tensor:
    found = extract(represent, source, plain=plain)
    if len(found) < len(source):
        raise ValueError(f"data: {len(source) - len(found)} labelled samples of {source.name} cannot be read any more")
    return found.h


def _accuracy(logits: Tensor, y: Tensor) -> dict[str, Any]:
    accuracy = float((logits.argmax(dim=1) == y).double().mean())
    return {"accuracy": accuracy, "error": binomial_error(accuracy, len(y)), "num_samples": len(y)}


def _notes(
    of: Sampled,
    rows: Tensor,
    labels: Mapping[str, str] | None,
    own: _Labelled,
    single: Sequence[str],
    tested: _Tested | None,
) -> tuple[str, ...]:
    """What a reader of the scores has to know of where the labels come from."""
    turns = "each in its turn" if len(own.y) <= own.few else "a fifth of them"
    found = [f"held out: {turns}, of {len(own.y):,} labels; what is judged by them has not seen them"]
    if own.groups is not None:
        found.append(f"groups ({len(own.groups.unique())} of them) were held out whole, also to choose penalties")
    if single:
        found.append(f"of one label only, which counts as wrong when it is held out: {', '.join(single)}")
    chosen = chosen_to_label(of)
    share = sum(of.embeddings.names[row] in chosen for row in rows.tolist()) / len(rows)
    if labels is not None:
        where = (
            f"{share:.0%} of these samples were chosen by `barlow label`, not drawn by chance"
            if share > 0
            else "whether these samples were drawn by chance cannot be told"
        )
        there = "" if tested else ": new samples may be much harder. --test DATA measures on labelled data of your own"
        found.append(f"{where}; the held-out score is that of samples like them{there}")
    if tested is not None:
        found.append(tested.note)
    return tuple(found)


def _copy_network(run: Path, out: Path) -> None:
    """Copy what opens a run: recipe, weights; nothing of its data or its past."""
    (out / "checkpoints").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run / "recipe.json", out / "recipe.json")
    for file in (run / "checkpoints").iterdir():
        if file.name in ("backbone.safetensors", "config.json"):
            shutil.copyfile(file, out / "checkpoints" / file.name)


@dataclass(frozen=True)
class Predictions:
    """Classes of samples.

    Attributes:
        names: of the n samples.
        classes: (n,) of the likeliest.
        probabilities: (n, c).
        likeness: (n,) to the labelled sample most like it.
        unknown: (n,) whether that is less than the classes allow.
        class_names: c names.
        skipped: why, by name, of samples that could not be read.
    """

    names: Sequence[str]
    classes: Tensor
    probabilities: Tensor
    likeness: Tensor
    unknown: Tensor
    class_names: Sequence[str]
    skipped: Mapping[str, str]


def predict(model: str | Path, data: Any, **reading: Any) -> Predictions:
    """Return the classes of some data by a classifier that `classify` wrote.

    Args:
        model: its folder.
        data: samples, a file, a folder or a name, as for `Run.embed`.
        reading: as for `Run.embed`.

    Raises:
        ValueError: a folder without a classifier, or data that cannot be read.

    Example:
        found = barlow.predict("model", "new/")
        [(name, found.class_names[c]) for name, c in zip(found.names, found.classes)]
    """
    from barlow.runs.run import open_run  # which knows this file

    folder = Path(model).expanduser()
    classifier, _ = load_classifier(folder)
    found = open_run(folder).embed(data, names=True, **reading)
    probabilities = classifier.probabilities(found.h)
    return Predictions(
        found.names,
        probabilities.argmax(dim=1),
        probabilities,
        classifier.likeness(found.h),
        classifier.is_unknown(found.h),
        classifier.class_names,
        found.skipped,
    )


def write_predictions(path: Path, found: Predictions) -> None:
    """Write predictions as csv: name, class, probability, unknown (yes or no), likeness, p of each class."""
    with durable_file(path) as file:
        head = ["name", "class", "probability", "unknown", "likeness", *(f"p({name})" for name in found.class_names)]
        file.write((",".join(map(quoted, head)) + "\n").encode())
        for row, name in enumerate(found.names):
            best, p = int(found.classes[row]), found.probabilities[row]
            cells = [printable(name), found.class_names[best], f"{float(p[best]):.4f}"]
            cells += ["yes" if bool(found.unknown[row]) else "no", f"{float(found.likeness[row]):.4f}"]
            file.write((",".join(map(quoted, [*cells, *(f"{float(one):.4f}" for one in p)])) + "\n").encode())
