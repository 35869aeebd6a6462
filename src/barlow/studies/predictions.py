"""The predictions P1 to P8 (P6 is in `projector.py`), each a pure function of the figures of the grid's arms.

Arms are named <normalisation>-<projector>-<frozen or trained>; a prediction whose arms were not measured is undecided.
L*_P(h) is the least Pearson loss of a linear projector on the backbone h: smaller is a more invariant backbone. Arms of
one seed share backbone, batches and views, so differences are taken seed by seed, and a difference that the spread of
the seeds covers is undecided.

    P1  raw, linear, solved exactly: no gradient           P5  Pearson, frozen, MLP: most of the loss's fall
    P2  raw, linear, by Adam: between untrained, Pearson   P7  directions in use follow the waterline
    P3  one scalar does what Pearson does                  P8  asymmetry of C falls as 1/sqrt(N)
    P4  raw with a BatchNorm at the end is Pearson
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from barlow.report.study_page import Verdict
from barlow.studies.spread import Spread, all_of, positive, spread

Arms = Mapping[str, Sequence[Mapping[str, Any]]]
"""Figures by name of the arm, one entry per seed in the same order; "solved", "waterline" and "last_norm" as well."""

ALONE_LIMIT = 0.15
"""Standard deviation of L*_P(h) between seeds, for studies of one seed: two seeds of seven trained arms on digits
differed by 0.02 to 0.21, which is 1.4 standard deviations."""
ALONE_SHARE = 0.03
"""The same of shares of a fall of the loss, and of shares of variance: two seeds differed by up to 0.02."""
ALONE_ACCURACY = 0.03
"""The same of accuracies with 100 labels: two seeds of one arm differed by up to 0.04."""
NO_GRADIENT = 1e-9
"""Of the gradient with a random projector: float64 through a condition number of 10^3 leaves about 1e-14."""
SAME = 1e-3
"""Two float32 gradients that differ by rounding alone agree better, and two that differ by more are not the same."""
NEAR = 0.5
"""Near Pearson: less than half as far from it as the loss without normalisation is."""
MOST = 0.5
"""Most of the loss's fall: more than half."""
ONE_OFF = 1
"""Directions in use may differ by one: budgets go to 0 at the waterline, where any threshold cuts."""
SLOPE_TOLERANCE = 0.05
"""Of the slope -1/2: 20 batches of one N tell |C - C^T| to about 1%, and N goes over a factor of 16."""
FEWEST_SIZES = 3
"""Of batches, for a slope."""
LEVEL_TOLERANCE = 0.1
"""Of the level: the formula is for Gaussian features."""


def predictions(arms: Arms) -> list[Verdict]:
    """Return the verdicts on P1 to P5, P7 and P8.

    Args:
        arms: figures of the arms that were measured.
    """
    return [judge(arms) for judge in (p1, p2, p3, p3_uncentred, p4, p5, p7, p8)]


def p1(arms: Arms) -> Verdict:
    """Judge the solved projector: a gradient of 0, an accuracy as before."""

    def judge(solved: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
        gradient = max(one["largest_gradient"] / one["raw_random"] for one in solved)
        other = min(one["pearson_solved"] / one["raw_random"] for one in solved)
        moved = max(abs(one["end"]["few_labels"] - one["start"]["few_labels"]) for one in solved)
        error = max(_binomial(one["start"]["few_labels"], one["num_test"]) for one in solved)
        held = gradient < NO_GRADIENT and moved <= error
        return "held" if held else "failed", (
            f"the largest gradient of all steps is {gradient:.1e} of that with a random projector; the accuracy moved "
            f"by {moved:.2g} (standard error {error:.2g}). The Pearson loss with its own best projector has "
            f"{other:.1e}: solved or not, it asks something of the backbone."
        )

    statement = (
        "Without normalisation and with the linear projector solved exactly in each step, the backbone gets no "
        "gradient and stays as it was."
    )
    return _verdict("P1", statement, arms, ("solved",), lambda: judge(arms["solved"]))


def p2(arms: Arms) -> Verdict:
    """Judge the loss without normalisation as it is trained: it improves the backbone, less than Pearson."""
    names = ("covariance-linear-trained", "pearson-linear-trained")

    def judge() -> tuple[str, str]:
        kinds = [name for name in ("covariance", "raw") if f"{name}-linear-trained" in arms]
        outcomes, said = [], []
        for kind in kinds:
            trained = arms[f"{kind}-linear-trained"]
            gained = _over(trained, trained, lambda a, b: a["start"]["backbone_limit"] - b["end"]["backbone_limit"])
            missing = _limit_above(trained, arms[names[1]])
            over_start = _over(
                trained, trained, lambda a, b: a["end"]["few_labels"] - b["start"]["few_labels"], ALONE_ACCURACY
            )
            under = _over(arms[names[1]], trained, _few_difference, ALONE_ACCURACY)
            outcomes += [positive(one) for one in (gained, missing, over_start, under)]
            said.append(
                f"{kind}: L*_P(h) fell by {gained} and stayed above Pearson's by {missing}; 100-label accuracy rose "
                f"by {over_start} and is below Pearson's by {under}"
            )
        return all_of(outcomes), "; ".join(said) + "."

    statement = (
        "Without normalisation, a linear projector trained by Adam improves the backbone: L*_P(h) and accuracy end "
        "between untrained and Pearson."
    )
    return _verdict("P2", statement, arms, names, judge)


def p3(arms: Arms) -> Verdict:
    """Judge the scalar and the cosine beside Pearson, all centred."""
    statement = (
        "One scalar, or the length of each centred sample, does for the backbone what Pearson does: it ends less than "
        "half as far from it as without normalisation, equally tuned. Invariance takes a normalisation, not Pearson's."
    )
    return _near_pearson(statement, arms, {"scalar": "scalar", "cosine": "centred_cosine"})


def p3_uncentred(arms: Arms) -> Verdict:
    """Judge the cosine of samples beside Pearson where nothing takes the mean away."""
    statement = "The length of each sample does the same where samples are not centred."
    return _near_pearson(statement, arms, {"uncentred cosine": "sample_cosine"})


def _near_pearson(statement: str, arms: Arms, others: Mapping[str, str]) -> Verdict:
    """Less than half as far from Pearson as the loss without normalisation, in L*_P(h) and share of augmentation."""
    names = tuple(f"{name}-linear-trained" for name in ("pearson", "covariance", *others.values()))

    def judge() -> tuple[str, str]:
        pearson, without, *tried = (arms[name] for name in names)
        outcomes, said = [], []
        for figure, name, alone in (
            ("backbone_limit", "L*_P(h)", ALONE_LIMIT),
            ("share_h", "share of augmentation", ALONE_SHARE),
        ):
            far = [abs(_change(c, p, figure)) for c, p in zip(without, pearson, strict=True)]
            parts = []
            for label, other in zip(others, tried, strict=True):
                near = [abs(_change(o, p, figure)) for o, p in zip(other, pearson, strict=True)]
                outcomes.append(positive(spread([NEAR * f - n for f, n in zip(far, near, strict=True)], alone)))
                parts.append(f"{label} {_mean(near):.3g}")
            said.append(f"{name} differs from Pearson's by {', '.join(parts)}, without normalisation {_mean(far):.3g}")
        few = ", ".join(
            f"{name.split('-')[0]} {_mean([one['end']['few_labels'] for one in arms[name]]):.3f}" for name in names
        )
        return all_of(outcomes), f"{'; '.join(said)}. 100-label accuracies: {few}."

    return _verdict("P3", statement, arms, names, judge)


def p4(arms: Arms) -> Verdict:
    """Judge BatchNorm in the projector of the loss without normalisation."""
    names = ("last_norm", "covariance-mlp-trained", "covariance-mlp_bn-trained", "pearson-mlp-trained")

    def judge() -> tuple[str, str]:
        same = max(one["gradient_difference"] for one in arms["last_norm"])
        better = _limit_above(arms[names[1]], arms[names[2]])
        worse = _limit_above(arms[names[2]], arms[names[3]])
        outcome = all_of(["held" if same < SAME else "failed", positive(better), positive(worse)])
        return outcome, (
            f"gradients of the backbone differ by {same:.0e} with BatchNorm at the end; with BatchNorm inside only, "
            f"L*_P(h) is {better} lower than without any and {worse} higher than with Pearson."
        )

    statement = (
        "Without normalisation of the loss, BatchNorm as the projector's last layer is Pearson, and BatchNorm inside "
        "only lies between."
    )
    return _verdict("P4", statement, arms, names, judge)


def p5(arms: Arms) -> Verdict:
    """Judge how much of the loss's fall an MLP on a frozen untrained backbone explains."""
    names = ("pearson-mlp-frozen", "pearson-mlp-trained")

    def judge() -> tuple[str, str]:
        frozen, trained = (arms[name] for name in names)
        shares = [
            (a["start"]["pearson_loss"] - a["end"]["pearson_loss"])
            / (b["start"]["pearson_loss"] - b["end"]["pearson_loss"])
            for a, b in zip(frozen, trained, strict=True)
        ]
        room = spread([share - MOST for share in shares], ALONE_SHARE)
        moved = max(abs(one["end"]["few_labels"] - one["start"]["few_labels"]) for one in frozen)
        gained = _over(trained, trained, lambda a, b: a["end"]["few_labels"] - b["start"]["few_labels"], ALONE_ACCURACY)
        outcome = all_of([positive(room), "held" if moved == 0 else "failed"])
        falls = [
            _mean([one[when]["pearson_loss"] for one in arm]) for arm in (frozen, trained) for when in ("start", "end")
        ]
        return outcome, (
            f"{100 * _mean(shares):.0f}% of it (± {100 * room.margin:.0f}): {falls[0]:.2f} to {falls[1]:.2f} frozen, "
            f"{falls[2]:.2f} to {falls[3]:.2f} trained. The frozen backbone's accuracy moved by {moved:.2g} (it "
            f"cannot), the trained one's by {gained}."
        )

    statement = (
        "Under the Pearson loss, an MLP on a frozen untrained backbone makes most of the loss's fall without any "
        "change of accuracy: the loss is no evidence of a better backbone."
    )
    return _verdict("P5", statement, arms, names, judge)


def p7(arms: Arms) -> Verdict:
    """Judge the number of directions that descent uses, and what a trained projector spends below the waterline."""

    def judge() -> tuple[str, str]:
        found = [one for cell in arms["waterline"] for one in cell["found"]]
        off = [abs(one["active"] - one["predicted"]) for one in found]
        above = max(one["loss"] / one["floor"] - 1 for one in found)
        trained = [one["end"]["budget"] for one in arms.get("pearson-linear-trained", ())]
        said = (
            f"exactly in {sum(one == 0 for one in off)} of {len(found)} cases (of D and lambda), at most {max(off)} "
            f"off; predicted are {min(one['predicted'] for one in found)} to {max(one['predicted'] for one in found)} "
            f"directions of {max(one['width'] for one in found)} outputs at most, and the losses end within "
            f"{100 * above:.2g}% of the floor."
        )
        if trained:
            below = _mean([one["below_waterline"] for one in trained])
            said += f" A projector trained on batches together with its backbone spends {100 * below:.2g}% below it."
        return "held" if max(off) <= ONE_OFF else "failed", said

    statement = "With small lambda or large D, the directions in use are those above the waterline of Theorem 2."
    return _verdict("P7", statement, arms, ("waterline",), judge)


def p8(arms: Arms) -> Verdict:
    """Judge the asymmetry of the matrices of batches."""
    names = ("pearson-linear-trained",)

    def judge() -> tuple[str, str]:
        found = [one[when]["asymmetry"] for one in arms[names[0]] for when in ("start", "end")]
        if len(found[0]["sizes"]) < FEWEST_SIZES:
            return "undecided", "too few test images for batches of different sizes."
        slopes = [_slope(one["sizes"], one["measured"]) for one in found]
        ratios = [m / e for one in found for m, e in zip(one["measured"], one["expected"], strict=True)]
        off = max(abs(slope + 0.5) for slope in slopes)
        level = max(abs(ratio - 1) for ratio in ratios)
        return "held" if off < SLOPE_TOLERANCE and level < LEVEL_TOLERANCE else "failed", (
            f"slopes {min(slopes):.3f} to {max(slopes):.3f} on logarithmic axes; measured over expected "
            f"{min(ratios):.3f} to {max(ratios):.3f}, untrained and trained, N = {found[0]['sizes'][0]:.0f} to "
            f"{found[0]['sizes'][-1]:.0f}."
        )

    statement = "|C - C^T| of a batch of N falls as 1/sqrt(N), at the level sqrt(sum 2 (1 - rho_i rho_j) / (N - 1))."
    return _verdict("P8", statement, arms, names, judge)


def _verdict(
    claim: str, statement: str, arms: Arms, names: Sequence[str], judge: Callable[[], tuple[Any, str]]
) -> Verdict:
    """A verdict from what was measured; undecided where an arm is missing or has diverged."""
    missing = [name for name in names if not arms.get(name)]
    if missing:
        return Verdict(claim, statement, "undecided", f"not measured in this form: {', '.join(missing)}.")
    diverged = [name for name in names if any(math.isnan(one.get("rate", 0.0)) for one in arms[name])]
    if diverged:
        return Verdict(claim, statement, "undecided", f"no learning rate worked for {', '.join(diverged)}.")
    outcome, evidence = judge()
    return Verdict(claim, statement, outcome, evidence)


def _over(
    first: Sequence[Mapping[str, Any]],
    second: Sequence[Mapping[str, Any]],
    difference: Callable[[Mapping[str, Any], Mapping[str, Any]], float],
    alone: float = ALONE_LIMIT,
) -> Spread:
    return spread([difference(a, b) for a, b in zip(first, second, strict=True)], alone)


def _limit_above(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> Spread:
    return _over(first, second, lambda a, b: _change(a, b, "backbone_limit"))


def _change(a: Mapping[str, Any], b: Mapping[str, Any], figure: str) -> float:
    return float(a["end"][figure] - b["end"][figure])


def _few_difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    return _change(a, b, "few_labels")


def _binomial(accuracy: float, count: int) -> float:
    return math.sqrt(accuracy * (1 - accuracy) / count)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Of log y against log x, least squares."""
    across, up = [math.log(one) for one in x], [math.log(one) for one in y]
    middle, height = _mean(across), _mean(up)
    moved = sum((a - middle) * (b - height) for a, b in zip(across, up, strict=True))
    return moved / sum((a - middle) ** 2 for a in across)
