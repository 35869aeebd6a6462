"""The figures of a run, and sentences that say what they mean, in the order in which a person asks."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from barlow.formats import count, duration, number, percent, points, shape, with_spread
from barlow.recipes import OWN
from barlow.report.run_folder import Record, RunFiles, finite, mapping

METHOD_NAMES: Mapping[str, str] = {
    "barlow_twins": "Barlow Twins",
    "simclr": "SimCLR",
    "swav": "SwAV",
    "simsiam": "SimSiam",
    "vicreg": "VICReg",
    "vicregl": "VICRegL",
    "wmse": "W-MSE",
    "optimal_projector": "Optimal projector",
    "byol": "BYOL",
    "sigreg": "SIGReg",
    "cca_ssg": "CCA-SSG",
}
PROTOCOLS = ("few_labels", "linear", "knn")
NETWORKS = ("trained", "untrained")
"""Rows of an evaluation that are networks; what stands beside them has the name that its modality gives it."""
NOISY_GAIN = 1.0
"""A gain of fewer than this many standard deviations of the draws is called no evidence."""
FALLS = ", fewer than before, as is normal: what augmentation makes is dropped"
AS_THEY_ARE = "weights as they were"
"""What stands in the place of the untrained network where a run started from weights."""
BARELY = 0.05
"""A rise of the mean correlation that two runs with other seeds differ by as well."""
FELL = 0.8
"""A best linear projector's loss of four fifths of that before training is more than chance, whatever the mean says."""
ADVICE = "More samples, more epochs, milder augmentations or larger inputs are what to try."


@dataclass(frozen=True)
class Accuracy:
    """One measured accuracy, as share; `spread` is the standard deviation over draws, if there are any."""

    mean: float
    spread: float | None = None

    def __str__(self) -> str:
        return with_spread(self.mean, self.spread)


def method_name(run: RunFiles) -> str:
    """Return the method's published name."""
    method = str(run.recipe.get("method", "")).removeprefix(OWN)
    return METHOD_NAMES.get(method, method.replace("_", " ") or "A run")


def data_name(run: RunFiles) -> str:
    """Return what the data are called."""
    return str(mapping(run.start.get("data")).get("name") or "unnamed data")


def embedding_width(run: RunFiles) -> int | None:
    """Return D, the width of the embedding, from the recipe's projector or the measured correlations."""
    last = str(run.recipe.get("projector", "")).split("-")[-1]
    if last.isdigit():
        return int(last)
    diagonal = run.evidence.get("correlation_diagonal")
    return None if diagonal is None or not diagonal.size else int(diagonal.size)


def rows(run: RunFiles) -> list[Record]:
    """Return the rows of the evaluation: trained first, then what it is compared with."""
    found = run.section("evaluation").get("rows")
    known = [mapping(row) for row in found if mapping(row).get("features")] if isinstance(found, list) else []
    order = {name: place for place, name in enumerate(NETWORKS)}
    return sorted(known, key=lambda row: order.get(str(row["features"]), len(order)))


def accuracy(row: Record, protocol: str) -> Accuracy | None:
    """Return one accuracy of an evaluation row, None when it was not measured."""
    value = row.get(protocol)
    if isinstance(value, Mapping):
        mean = finite(value.get("mean"))
        return None if mean is None else Accuracy(mean, finite(value.get("std")))
    mean = finite(value)
    return None if mean is None else Accuracy(mean)


def protocol_name(protocol: str, run: RunFiles) -> str:
    """Return what a protocol is called, e.g. "10 labels per class"."""
    if protocol == "few_labels":
        per_class = [mapping(row.get("few_labels")).get("per_class") for row in rows(run)]
        amount = next((finite(value) for value in per_class if finite(value)), None)
        return f"{count(amount, 'label')} per class" if amount else "few labels per class"
    return {"linear": "linear probe, all labels", "knn": "nearest neighbours (kNN)"}.get(protocol, protocol)


def gain(run: RunFiles) -> float | None:
    """Return what training added, on few labels where they were measured, else on the linear probe or neighbours."""
    for protocol in PROTOCOLS:
        found = _accuracies(run, protocol)
        if "trained" in found and "untrained" in found:
            return found["trained"].mean - found["untrained"].mean
    return None


def last_epoch(run: RunFiles, *path: str) -> float | None:
    """Return the mean of a number of the step records over the last epoch: single batches are noisy."""
    x, y = run.curve("step", *path)
    return float(y[x > x[-1] - 1.0].mean()) if len(y) else None


def excess(run: RunFiles) -> float | None:
    """Return how far above its floor the loss ended."""
    loss, floor = last_epoch(run, "loss"), last_epoch(run, "floor")
    return None if loss is None or floor is None else loss - floor


def label_free(run: RunFiles, name: str) -> float | None:
    """Return a figure that needs no labels, from the summary, else from the last probe that has it."""
    value = finite(run.section("label_free").get(name))
    if value is None:
        _, values = run.curve("probe", "figures", name)
        value = float(values[-1]) if len(values) else None
    return value


def seconds_of_training(run: RunFiles) -> float | None:
    """Return the time spent training: of a finished run as it was timed, else as the journal's times tell it."""
    timed = finite(run.section("timing").get("pretrain_seconds"))
    if timed is None and run.finished and not run.events("resume"):
        timed = finite(run.events("finish")[-1].get("seconds"))
    return timed if timed is not None else run.seconds_of_training() or None


def sample_noun(run: RunFiles) -> str:
    """Return what one sample is called; runs of before recorded no word, but images tell by their sizes."""
    data = mapping(run.start.get("data"))
    return str(data.get("noun") or ("image" if "pixels" in shape(data.get("image_shape")) else "sample"))


def raw_names(run: RunFiles) -> list[str]:
    """Return what the raw features are called that stand beside the networks: "raw pixels"."""
    return [name for row in rows(run) if (name := str(row["features"])) not in NETWORKS]


def from_weights(run: RunFiles) -> bool:
    """Whether the run started from weights: what it began with is then no untrained network."""
    return bool(run.recipe.get("pretrained"))


def row_name(run: RunFiles, features: str) -> str:
    """Return what a kind of features is called: of a run that started from weights, those are not untrained."""
    return AS_THEY_ARE if features == NETWORKS[1] and from_weights(run) else features


def made_worse(run: RunFiles) -> str:
    """Return the sentence that says that pretraining made the weights it started from worse; empty where it has not.

    By few labels beyond the spread of the draws, else by the linear probe beyond its standard error.
    """
    if not from_weights(run):
        return ""
    for protocol in ("few_labels", "linear"):
        found = _accuracies(run, protocol)
        trained, before = (found.get(name) for name in NETWORKS)
        if trained is None or before is None:
            continue
        test = finite(run.section("evaluation").get("test_samples"))
        error = math.sqrt(before.mean * (1.0 - before.mean) / test) if test and protocol == "linear" else 0.0
        if before.mean - trained.mean > max(trained.spread or 0.0, before.spread or 0.0, error):
            return (
                f"Pretraining made the weights worse: {percent(before.mean)} as they were, {percent(trained.mean)} now "
                f"({protocol_name(protocol, run)}). Use them as they are, or try a tenth of the learning rate."
            )
        return ""
    return ""


def subtitle(run: RunFiles) -> str:
    """Say what was trained on what, for how long."""
    data = mapping(run.start.get("data"))
    size, sizes = finite(data.get("num_samples")), shape(data.get("image_shape"))
    what = f"{count(size, sample_noun(run))}{f' ({sizes})' if sizes else ''}" if size else data_name(run)
    weights = finite(run.start.get("num_parameters"))
    network = str(run.recipe.get("backbone") or "A network").removeprefix(OWN)
    network += f", {_millions(weights)} parameters," if weights else ""
    seconds, device = seconds_of_training(run), run.start.get("device")
    took = f" in {duration(seconds)}" if seconds else ""
    where = f" on {device}" if device else ""
    return f"{network} pretrained without labels on {what}, {epochs(run)}{took}{where}."


def epochs(run: RunFiles) -> str:
    """Say how many epochs were done, of how many when some are missing."""
    x, _ = run.curve("step", "loss")
    done = float(x[-1]) if len(x) else 0.0
    planned = finite(run.recipe.get("epochs"))
    if planned is None or run.finished:
        return count(round(planned or done, 2), "epoch")
    return f"{number(done)} of {count(round(planned, 2), 'epoch')}"


def sentences(run: RunFiles) -> list[str]:
    """Return the sentences that say what the numbers of the run mean; first what came of it, by figures without labels.

    Last, where the reasons are to be found.
    """
    found = [_loss_sentence(run), _few_labels_sentence(run), _linear_sentence(run), _label_free_sentence(run)]
    if not rows(run) and run.finished:
        labelled = finite(mapping(run.start.get("data")).get("num_classes"))
        why = "The features have not been evaluated on labels" if labelled else "No labels were given"
        found[1] = f"{why}, so nothing here says how well classes can be told apart; the figures below need none."
    came_of_it = without_labels(run.section("label_free"))
    why = "For the reasons, without labels: `barlow audit` of this folder." if came_of_it else ""
    return [sentence for sentence in (made_worse(run), came_of_it, *found, why) if sentence]


def without_labels(label_free: Mapping[str, Any]) -> str:
    """Return the verdict that needs no labels: nothing, barely or something learnt; "" where figures are missing."""
    if in_vain := nothing_learnt(label_free):
        return in_vain
    rho, before = label_free.get("mean_correlation"), label_free.get("mean_correlation_untrained")
    if rho is None or before is None:
        return ""
    agreement = _agreement(rho, before)
    limit, limit_before = label_free.get("backbone_limit"), label_free.get("backbone_limit_untrained")
    fell = limit is not None and limit_before is not None and limit < FELL * limit_before
    if rho - before < BARELY and not fell:
        return _said("Barely learnt: two views of a sample agree in the features hardly better than before", agreement)
    return f"Learnt: two views of a sample agree in the features better than before training ({agreement})."


def nothing_learnt(label_free: Mapping[str, Any]) -> str:
    """Return the sentence that says that training has done nothing for the features, empty where it has.

    Nothing, if no direction of the features agrees between two views beyond chance; or if directions agree no better
    than those of the same network before training ("_untrained" in `summary.json`), and a linear projector could not do
    better on them either.
    """
    rho, before = label_free.get("mean_correlation"), label_free.get("mean_correlation_untrained")
    if rho is None:
        return ""
    agreement = _agreement(rho, before)
    if label_free.get("directions_above_chance") == 0:
        return _said("Nothing was learnt: no direction of the features agrees between views beyond chance", agreement)
    limit, limit_before = label_free.get("backbone_limit"), label_free.get("backbone_limit_untrained")
    no_lower = limit is None or limit_before is None or limit >= limit_before
    if before is not None and rho <= before and no_lower:
        return _said("Training has not helped: the features agree between views no better than before", agreement)
    return ""


def _agreement(rho: float, before: float | None) -> str:
    untrained = "" if before is None else f", untrained {number(before)}"
    return f"agreement of the strongest directions {number(rho)}{untrained}"


def _said(what: str, agreement: str) -> str:
    return f"{what} ({agreement}). {ADVICE}"


def _loss_sentence(run: RunFiles) -> str:
    loss, floor, above = last_epoch(run, "loss"), last_epoch(run, "floor"), excess(run)
    if loss is None:
        return "No step has been recorded yet."
    ended = "ended at" if run.finished else "stands at"
    width, batch = embedding_width(run), finite(run.recipe.get("batch_size"))
    if floor and above is not None and width and batch:
        sizes = f"batch {number(batch, 9)} and {count(width, 'feature')}"
        below = f"With {sizes} no network can show a loss below {number(floor)}"
        return f"{below}; this run {ended} {number(loss)}, {number(above)} above it (mean of its last epoch)."
    _, losses = run.curve("step", "loss")
    rest = "; at this batch size its floor is 0" if floor == 0.0 else ""
    now = f"{ended} {number(loss)} (mean of its last epoch)"
    return f"The loss began at {number(float(losses[0]))} and {now}{rest}."


def _accuracies(run: RunFiles, protocol: str) -> dict[str, Accuracy]:
    found = {str(row["features"]): accuracy(row, protocol) for row in rows(run)}
    return {name: value for name, value in found.items() if value is not None}


def _few_labels_sentence(run: RunFiles) -> str:
    found = _accuracies(run, "few_labels")
    trained, untrained = (found.get(name) for name in NETWORKS)
    if trained is None:
        return ""
    said = f"On {protocol_name('few_labels', run)} the features reach {trained}"
    said += "".join(f", {name} {percent(found[name].mean)}" for name in raw_names(run) if name in found)
    if untrained is None:
        return said + "."
    gain, spread = trained.mean - untrained.mean, max(trained.spread or 0.0, untrained.spread or 0.0)
    said += f", {AS_THEY_ARE if from_weights(run) else 'the same network untrained'} {percent(untrained.mean)}"
    if abs(gain) <= NOISY_GAIN * spread:
        pair = "the two" if from_weights(run) else "trained and untrained"
        return f"{said}: {points(gain)} between {pair} is within the spread of the draws."
    return f"{said}: training {'added' if gain > 0 else 'cost'} {points(gain)}."


def _linear_sentence(run: RunFiles) -> str:
    found = _accuracies(run, "linear")
    trained = found.get("trained")
    if trained is None:
        return ""
    others = [f"{row_name(run, name)} {percent(found[name].mean)}" for name in found if name != NETWORKS[0]]
    beside = f" ({', '.join(others)})" if others else ""
    evaluation = run.section("evaluation")
    train, test = finite(evaluation.get("train_samples")), finite(evaluation.get("test_samples"))
    in_all = finite(mapping(evaluation.get("sampling")).get("of_train"))
    on_all = f"all {count(train, 'training label')}" if train else "all training labels"
    if train and in_all and in_all > train:  # what the time that was given allowed
        on_all = f"{number(train)} of {count(in_all, 'training label')}"
    said = f"A linear classifier on {on_all} reaches {percent(trained.mean)}{beside}"
    if not test:
        return said + "."
    error = math.sqrt(trained.mean * (1.0 - trained.mean) / test)
    size = f"± {100 * error:.1f} points"
    return f"{said}; {count(test, 'test sample')} fix that to about {size} (one standard error)."


def _label_free_sentence(run: RunFiles) -> str:
    rank, invariance = label_free(run, "effective_rank"), label_free(run, "invariance_share")
    parts = []
    if rank is not None:
        parts.append(f"The features vary in {number(rank)} effective {'dimension' if rank == 1 else 'dimensions'}")
        parts[0] += features_of(run) + untrained_too(run, "effective_rank", number)
        before = finite(run.section("label_free").get("effective_rank_untrained"))
        parts[0] += ", close to collapse" if rank < 2.0 else ""
        parts[0] += FALLS if before is not None and 2.0 <= rank < before else ""
    if invariance is not None:
        one = sample_noun(run)
        said = f"{percent(invariance, 0)} of their variance lies between {one}s, the rest between views of one {one}"
        parts.append(said + untrained_too(run, "invariance_share", lambda share: percent(share, 0)))
    return f"{' and '.join(parts)}." if rank is not None else ""


def features_of(run: RunFiles) -> str:
    """Return " of 512" when the number of features is known, else nothing."""
    widths = [finite(row.get("num_features")) for row in rows(run) if row["features"] == "trained"]
    spectrum = run.evidence.get("eigenvalues")
    widths += [float(spectrum.size)] if spectrum is not None else []
    return f" of {number(widths[0], 9)}" if widths and widths[0] else ""


def untrained_too(run: RunFiles, figure: str, show: Callable[[float], str]) -> str:
    """Return " (untrained 12.1)" when the summary has the figure of the untrained network."""
    value = finite(run.section("label_free").get(f"{figure}_untrained"))
    return "" if value is None else f" (untrained {show(value)})"


def key_figures(run: RunFiles) -> Sequence[tuple[str, str]]:
    """Return up to five (value, what it is) for the top of the page."""
    found: list[tuple[str, str]] = []
    for protocol in PROTOCOLS:
        trained = _accuracies(run, protocol).get("trained")
        if trained:
            found.append((str(trained), protocol_name(protocol, run)))
    above, loss, rank = excess(run), last_epoch(run, "loss"), label_free(run, "effective_rank")
    if above is not None:
        found.append((number(above), "loss above its floor"))
    elif loss is not None:
        found.append((number(loss), "loss"))
    if rank is not None:
        found.append((number(rank), f"effective rank{features_of(run)}"))
    seconds = seconds_of_training(run)
    return [*found[:5], *([(duration(seconds), "training time")] if seconds and len(found) < 5 else [])]


def _millions(amount: float) -> str:
    return f"{number(amount / 1e6)} million" if amount >= 1e6 else number(amount)
