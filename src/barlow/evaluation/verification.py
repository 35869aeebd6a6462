"""Verification: are two samples of one class, told by the cosine of their features; EER and minDCF over trials.

A trial is a pair (enrol, test) with an answer: same speaker (a target) or not. Trials come from the labels, every
pair of different samples once, or from a file of lines "enrol test label".
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from barlow.data.labels import UNKNOWN
from barlow.errors import did_you_mean
from barlow.evaluation.splits import spread_over_classes

P_TARGET = 0.01
"""Prior of a target in minDCF, as in NIST's evaluations from 2010 on; VoxCeleb's challenge has 0.05."""
ANSWERS = {"1": True, "target": True, "0": False, "nontarget": False}
"""What a trials file calls a pair of the same class, and one of different classes."""
MOST_SAMPLES = 5000
"""Samples of which every pair is a trial: 12 million of them; of more data a part is taken, class by class."""
_CHUNK = 1 << 20
"""Trials scored at a time, so that their features take little memory beside their scores."""


@dataclass(frozen=True)
class Trials:
    """Pairs of samples and whether both are of the same class.

    Attributes:
        enrol, test: (t,) positions of the two samples.
        same: (t,) whether the pair is a target.
    """

    enrol: Int64[Tensor, " t"]
    test: Int64[Tensor, " t"]
    same: Bool[Tensor, " t"]

    def __len__(self) -> int:
        """Return the number of trials."""
        return len(self.same)


@dataclass(frozen=True)
class Verification:
    """How well scores tell targets from the others.

    Attributes:
        eer: equal error rate in [0, 1].
        min_dcf: least detection cost at `P_TARGET`, 1 for a system that always says no.
        threshold: the score from which a pair counts as a target at the equal error rate.
        num_targets, num_others: trials of either kind.
    """

    eer: float
    min_dcf: float
    threshold: float
    num_targets: int
    num_others: int


def verify(h: Float[Tensor, "n d"], trials: Trials) -> Verification:
    """Return EER and minDCF of the cosines of features over trials; ValueError where one kind of trial is missing."""
    scores = cosine_scores(h, trials)
    rates = error_rates(scores, trials.same)
    eer, threshold = _where_they_meet(rates)
    num_targets = int(trials.same.sum())
    return Verification(eer, _least_cost(rates, P_TARGET), threshold, num_targets, len(trials) - num_targets)


def equal_error_rate(scores: Float[Tensor, " t"], same: Bool[Tensor, " t"]) -> float:
    """Return the rate at which as many targets are rejected as others are accepted.

    A pair is accepted from a threshold on. Between two thresholds both rates are taken to be linear, as a random choice
    between the two makes them; so equal scores of targets and others count half, and EER is 0.5 where all are equal.

    Args:
        scores: (t,) higher: more alike.
        same: (t,) True for targets.

    Raises:
        ValueError: shapes that differ, a score that is not finite, no target, or nothing but targets.

    Example:
        >>> equal_error_rate(torch.tensor([0.9, 0.4, 0.6, 0.1]), torch.tensor([True, True, False, False]))
        0.5
    """
    return _where_they_meet(error_rates(scores, same))[0]


def min_dcf(scores: Float[Tensor, " t"], same: Bool[Tensor, " t"], *, p_target: float = P_TARGET) -> float:
    """Return the least normalised detection cost over all thresholds, misses and false alarms costing 1 each.

        min over thresholds of (p P_miss + (1 - p) P_false alarm) / min(p, 1 - p)

    1 is what always saying no (or yes, for p above 1/2) costs. Source: NIST's speaker recognition evaluations.

    Raises:
        ValueError: as `equal_error_rate`, or a prior outside (0, 1).
    """
    if not 0 < p_target < 1:
        raise ValueError(f"p_target: got {p_target}, wanted a number between 0 and 1")
    return _least_cost(error_rates(scores, same), p_target)


@dataclass(frozen=True)
class ErrorRates:
    """Rates for every threshold from above all scores down to below all of them.

    Attributes:
        thresholds: (k,) decreasing, the first one infinite; a score from it on is accepted.
        misses: (k,) share of the targets that are rejected, from 1 to 0.
        false_alarms: (k,) share of the others that are accepted, from 0 to 1.
    """

    thresholds: Float[Tensor, " k"]
    misses: Float[Tensor, " k"]
    false_alarms: Float[Tensor, " k"]


def error_rates(scores: Float[Tensor, " t"], same: Bool[Tensor, " t"]) -> ErrorRates:
    """Return both error rates at every threshold that tells two scores apart; ValueError as `equal_error_rate`."""
    if scores.shape != same.shape or scores.ndim != 1:
        raise ValueError(f"scores, same: got shapes {tuple(scores.shape)} and {tuple(same.shape)}, wanted (t,) twice")
    if not bool(scores.isfinite().all()):
        raise ValueError(f"scores: {int((~scores.isfinite()).sum())} of {len(scores)} are not finite")
    targets = int(same.sum())
    if not 0 < targets < len(same):
        missing = "no pair of the same class" if not targets else "no pair of different classes"
        raise ValueError(f"trials: got {len(same)} with {missing}, wanted both kinds")
    ordered, order = scores.double().sort(descending=True)
    accepted = same[order].double().cumsum(0)
    # Equal scores are accepted together: only the last of them is a point.
    last = torch.cat([ordered[1:] != ordered[:-1], torch.ones(1, dtype=torch.bool)])
    hits = torch.cat([torch.zeros(1, dtype=torch.float64), accepted[last]])
    all_accepted = torch.cat([torch.zeros(1, dtype=torch.float64), (last.nonzero()[:, 0] + 1).double()])
    thresholds = torch.cat([torch.full((1,), torch.inf, dtype=torch.float64), ordered[last]])
    return ErrorRates(thresholds, 1 - hits / targets, (all_accepted - hits) / (len(same) - targets))


def _where_they_meet(rates: ErrorRates) -> tuple[float, float]:
    """The rate at which both are equal, and the threshold before which that is."""
    difference = rates.misses - rates.false_alarms  # from 1 down to -1
    after = int((difference <= 0).nonzero()[0, 0])
    before = after - 1
    part = float(difference[before] / (difference[before] - difference[after]))
    eer = float(rates.misses[before] + part * (rates.misses[after] - rates.misses[before]))
    return eer, float(rates.thresholds[after])


def _least_cost(rates: ErrorRates, p_target: float) -> float:
    cost = p_target * rates.misses + (1 - p_target) * rates.false_alarms
    return float(cost.min()) / min(p_target, 1 - p_target)


def cosine_scores(h: Float[Tensor, "n d"], trials: Trials) -> Float[Tensor, " t"]:
    """Return the cosine of the features of every trial; a zero feature has cosine 0 with everything."""
    directions = F.normalize(h.float(), dim=1)
    pairs = zip(trials.enrol.split(_CHUNK), trials.test.split(_CHUNK), strict=True)
    return torch.cat([(directions[enrol] * directions[test]).sum(dim=1) for enrol, test in pairs])


def trials_of_labels(labels: Int64[Tensor, " n"], *, most: int = MOST_SAMPLES, seed: int = 0) -> Trials:
    """Return every pair of different samples once; those without a label (-1) are in none.

    Of more than `most` samples so many are taken, every class in its share, the same ones for a seed.
    """
    known = (labels != UNKNOWN).nonzero()[:, 0]
    chosen = known[spread_over_classes(labels[known], most=most, seed=seed)]
    first, second = torch.triu_indices(len(chosen), len(chosen), offset=1)
    enrol, test = chosen[first], chosen[second]
    return Trials(enrol, test, labels[enrol] == labels[test])


def read_trials(path: str | Path, names: Sequence[str]) -> Trials:
    """Read a file of trials, a line each: "enrol test label", the label 1 or target, 0 or nontarget.

    VoxCeleb's lists, whose lines are "label enrol test", are told by their first line and read too. Samples go by their
    paths or the ends of those ("george/3.wav" of "/data/george/3.wav"), with or without the suffix of the file.

    Args:
        path: of the file; empty lines and those that begin with # are nothing.
        names: of all samples, by position; positions of the trials are those in it.

    Raises:
        ValueError: no such file, a line of another form, or a name that is no sample or more than one; says which line.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"trials: there is no file {str(path)!r}")
    lines = [
        (number, line.split())
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not lines:
        raise ValueError(f"trials: {str(path)!r} has no lines, wanted some of 'enrol test label'")
    first = lines[0][1]
    label_first = len(first) == 3 and first[0].lower() in ANSWERS and first[2].lower() not in ANSWERS
    places = _by_ends(names)
    found = [_trial(number, words, label_first, places) for number, words in lines]
    enrol, test, same = zip(*found, strict=True)
    return Trials(torch.tensor(enrol), torch.tensor(test), torch.tensor(same))


def _trial(number: int, words: Sequence[str], label_first: bool, places: dict[str, list[int]]) -> tuple[int, int, bool]:
    form = "label enrol test" if label_first else "enrol test label"
    if len(words) != 3:
        raise ValueError(f"trials: line {number} has {len(words)} words, wanted {form!r}")
    enrol, test, answer = (*words[1:], words[0]) if label_first else words
    if answer.lower() not in ANSWERS:
        raise ValueError(f"trials: line {number} has the label {answer!r}, wanted one of {', '.join(ANSWERS)}")
    first, second = (_place(number, name, places) for name in (enrol, test))
    return first, second, ANSWERS[answer.lower()]


def _place(number: int, name: str, places: dict[str, list[int]]) -> int:
    found = places.get(name.removeprefix("./"), [])
    if len(found) != 1:
        several = f"which {len(found)} samples end with" if found else "which is none of the samples"
        raise ValueError(f"trials: line {number} names {name!r}, {several}{did_you_mean(name, places)}")
    return found[0]


def _by_ends(names: Sequence[str]) -> dict[str, list[int]]:
    """Every end of every path, with and without its suffix -> the samples that have it."""
    places: dict[str, list[int]] = defaultdict(list)
    for position, name in enumerate(names):
        parts = PurePosixPath(name.replace("\\", "/")).parts
        ends = {str(PurePosixPath(*parts[start:])) for start in range(len(parts))} | {name}
        for end in ends | {end[: len(end) - len(PurePosixPath(end).suffix)] for end in ends}:
            places[end].append(position)
    return places
