"""Study: is it the Pearson normalisation that makes Barlow Twins work? A grid, and predictions P1 to P5, P7 and P8.

    {raw, covariance, scalar, feature_cosine, sample_cosine, centred_cosine, pearson, whiten}
        x {linear, MLP without BatchNorm, MLP with BatchNorm} x {frozen, trained backbone}

raw is equation 3 as printed, not centred, and covariance the same centred; feature_cosine is equation 1 as printed,
not centred, and pearson the same centred; sample_cosine is what the loss of that name does, and centred_cosine the same
with the mean taken away before. How a variant is trained and measured is in `variants.py`; the core form tries four
rates on a quarter of the steps.

The core form leaves out what the predictions do not ask for. Twelve cells tell:

    all but whiten, linear, trained               P2, P3, P7, P8: everything but the loss is the same
    pearson MLP, frozen and trained               P5: the projector's share of the loss's fall
    covariance MLP, without and with BatchNorm    P4: normalisation that comes in by the projector
    raw, linear, solved in every step             P1: the only regime where the claim can be tested to the letter

No prediction asks for whiten. The frozen linear variants need no training, for Theorem 2 is their answer; raw and
covariance, trained and linear, show what centring does, and nothing suggests that it does more under an MLP. Two more
cells train no backbone: the waterline (P7) and the identity of P4. Quick: what P1, P3 and P5 need.

L*_P(h) is the least Pearson loss of a linear projector on the backbone h: smaller is a more invariant backbone.
Variants of one seed share backbone, batches and views, so differences are taken seed by seed, and a difference that the
deviation between seeds covers is undecided.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, linear_regression, stdev
from typing import Any, get_args

import torch
from torch import Tensor, nn

from barlow.methods.barlow_twins import Normalization, barlow_twins_loss
from barlow.report.study_page import Conclusion, Curve, Finding, Outcome, Plot, Table
from barlow.statistics.correlation import matrix_loss
from barlow.studies.cells import Cell, Finished, Metrics
from barlow.studies.images import load_enumerated
from barlow.studies.outcomes import ONE_SEED, SeedMean, all_of, held_if, over_seeds
from barlow.studies.solved_projector import measure_solved
from barlow.studies.study import Settings, Study
from barlow.studies.variants import (
    ACTIVE,
    MOST_TEST,
    MOST_TRAIN,
    QUICK_RATES,
    RATES,
    WEIGHT,
    WIDTH,
    WITH,
    Variant,
    World,
    fresh_networks,
    measure_variant,
    small_backbone,
)
from barlow.theory.intraclass import intraclass_correlations
from barlow.theory.moments import population_covariances
from barlow.theory.water_filling import water_filling

PROJECTORS = {
    "linear": (f"linear-{WIDTH}", "none"),
    "mlp": (f"128-{WIDTH}", "none"),
    "mlp_bn": (f"128-{WIDTH}", "batch"),
}
"""Name to widths and norm."""

CENTRED = "centred_cosine"
NORMALIZATIONS = (*get_args(Normalization), CENTRED)
LINEAR = [f"{name}-linear-trained" for name in NORMALIZATIONS if name != "whiten"]
CORE = [*LINEAR, "pearson-mlp-trained", "pearson-mlp-frozen", "covariance-mlp-trained", "covariance-mlp_bn-trained"]
QUICK = [
    *(f"{name}-linear-trained" for name in ("pearson", "scalar", "sample_cosine", CENTRED, "covariance")),
    "pearson-mlp-trained",
    "pearson-mlp-frozen",
]
WHOLE = [
    f"{name}-{projector}-{state}"
    for projector in PROJECTORS
    for name in NORMALIZATIONS
    for state in ("trained", "frozen")
]

STEPS = {"quick": 300, "core": 1000, "whole": 1000}
TRIAL_STEPS = {"quick": 300, "core": 250, "whole": 250}
"""Of the runs that choose a rate; four whole ones for every variant would double the three core-hours of the core."""
DRAWS = {"quick": 3, "core": 5, "whole": 5}
"""Of 100 labels; a quarter of the quick form's time."""
SOLVED_STEPS = {"quick": 20, "core": 200, "whole": 200}
SOLVED_RATE = 0.003
WATERLINE_STEPS = 3000
"""After 500 steps, budgets just below the waterline have not gone yet."""
WATERLINE_RATE = 0.03
"""Of Adam on rows of length 1; it falls to 0."""


def _cells(settings: Settings) -> list[Cell]:
    """The variants of a form, the solved projector, and what trains no backbone."""
    form = settings.form
    names = {"quick": QUICK, "core": CORE, "whole": WHOLE}[form]
    draws = {"draws": DRAWS[form]}
    training = {
        "steps": STEPS[form],
        "trial_steps": TRIAL_STEPS[form],
        "rates": list(QUICK_RATES if form == "quick" else RATES),
    }
    cells = []
    for seed in range(settings.seeds):
        images = {**settings.data_arguments, "seed": seed, "most_train": MOST_TRAIN, "most_test": MOST_TEST}
        cells += [Cell(f"{name}-seed{seed}", _measure, {"name": name, **images, **training, **draws}) for name in names]
        solved = {**images, "steps": SOLVED_STEPS[form], "rate": SOLVED_RATE, **draws}
        cells.append(Cell(f"solved-seed{seed}", measure_solved, solved))
        if form != "quick":
            grid = {"steps": WATERLINE_STEPS, "widths": [16, 32, 64], "weights": [0.005, 0.02, 0.1]}
            cells.append(Cell(f"waterline-seed{seed}", measure_waterline, {**images, **grid}))
            cells.append(Cell(f"last_norm-seed{seed}", measure_last_norm, images))
    return cells


def _measure(
    work: Path, *, name: str, seed: int, steps: int, trial_steps: int, rates: list[float], draws: int, **source: Any
) -> Metrics:
    return measure_variant(
        load_enumerated(**source, seed=seed),
        variant_of(name),
        seed=seed,
        steps=steps,
        rates=rates,
        draws=draws,
        trial_steps=trial_steps,
    )


def variant_of(name: str) -> Variant:
    """Return the variant of a name, <normalisation>-<projector>-<frozen or trained>."""
    normalization, projector, state = name.split("-")
    widths, norm = PROJECTORS[projector]
    of_loss = "sample_cosine" if normalization == CENTRED else normalization
    return Variant(of_loss, widths, norm, state == "frozen", normalization == CENTRED)  # type: ignore[arg-type]


def measure_waterline(
    work: Path, *, seed: int, steps: int, widths: list[int], weights: list[float], **source: Any
) -> Metrics:
    """Return how many directions descent uses and the waterline predicts, for every D and lambda (P7).

    On the covariances of an untrained backbone, in coordinates where T = I and B = diag(rho), a linear projector under
    the Pearson loss is a matrix V of unit rows and C = V diag(rho) V^T. Adam on V from random starts; the budget of
    direction k is sum_i V_ik^2. Nothing is estimated: the question is whether descent finds the collapse that Theorem 2
    predicts, or stays in a worse place.
    """
    images = load_enumerated(**source, seed=seed)
    backbone = small_backbone(images.channels, images.side, seed)
    covariances = population_covariances(images.features(backbone, images.test.pixels))
    rho = intraclass_correlations(covariances.between, covariances.total).clipped
    return {"found": [_descend(rho, width, weight, steps, seed) for width in widths for weight in weights]}


def _descend(rho: Tensor, width: int, weight: float, steps: int, seed: int) -> Metrics:
    predicted = water_filling(rho, width, weight)
    v = torch.randn(width, len(rho), dtype=rho.dtype, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    optimizer = torch.optim.Adam([v], lr=WATERLINE_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = nn.functional.normalize(v, dim=1)
        loss = matrix_loss((rows * rho) @ rows.T, weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    rows = nn.functional.normalize(v.detach(), dim=1)
    return {
        "width": width,
        "weight": weight,
        "loss": float(matrix_loss((rows * rho) @ rows.T, weight)),
        "floor": predicted.loss,
        "active": int((rows.square().sum(dim=0) > ACTIVE * width).sum()),
        "predicted": predicted.num_active,
        "waterline": predicted.waterline,
    }


def measure_last_norm(work: Path, *, seed: int, **source: Any) -> Metrics:
    """Return how far the raw loss behind a BatchNorm without scale and offset is from Pearson's on one batch (P4)."""
    return last_norm_on(load_enumerated(**source, seed=seed), seed)


def last_norm_on(images: World, seed: int) -> Metrics:
    """Return the metrics of `measure_last_norm` on a world."""
    backbone, projector = fresh_networks(images, variant_of("raw-mlp-trained"), seed)
    generator = torch.Generator().manual_seed(seed)
    views = [images.draw(images.fit.pixels[:256], generator) for _ in range(2)]
    gradients = []
    for last, normalization in ((nn.BatchNorm1d(WIDTH, affine=False), "raw"), (nn.Identity(), "pearson")):
        z_a, z_b = (last(projector(backbone(view))) for view in views)
        loss = barlow_twins_loss(z_a, z_b, redundancy_weight=WEIGHT, normalization=normalization).total  # type: ignore[arg-type]
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(backbone.parameters()))]))
    return {"gradient_difference": float((gradients[0] - gradients[1]).norm() / gradients[1].norm())}


def _conclude(cells: Sequence[Finished]) -> Conclusion:
    found = by_name(cells)
    parts = [backbones(found), losses(found), rates_tried(found), _asymmetry(found), _waterline(found)]
    return Conclusion(
        [prediction.finding(found) for prediction in PREDICTIONS], [part for part in parts if part is not None]
    )


STUDY = Study(
    "Normalisation: what it takes for the backbone to learn",
    "The paper says: without normalisation (equation 3) a linear projector reaches the minimum of the loss on any "
    "backbone, so the loss teaches the backbone nothing, and it is the Pearson normalisation (equation 7) that forces "
    "invariance and makes Barlow Twins work.",
    _cells,
    _conclude,
)


Seeds = Sequence[Mapping[str, Any]]
"""Metrics of one variant or other cell, one entry per seed."""
ByName = Mapping[str, Seeds]
"""By name of the variant, or "solved", "waterline", "last_norm"; seeds in the same order everywhere."""

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


def by_name(cells: Sequence[Finished]) -> ByName:
    """Return metrics by the names of cells, <name>-seed<number>, in the order of the seeds."""
    found: dict[str, list[Mapping[str, Any]]] = {cell.name.rsplit("-seed", 1)[0]: [] for cell in cells}
    for cell in sorted(cells, key=lambda cell: int(cell.arguments["seed"])):
        found[cell.name.rsplit("-seed", 1)[0]].append(cell.metrics)
    return found


@dataclass(frozen=True)
class Prediction:
    """A prediction, the cells that it needs, and what decides it: metrics of these cells -> outcome and evidence."""

    claim: str
    statement: str
    needs: tuple[str, ...]
    decide: Callable[[ByName], tuple[Outcome, str]]

    def finding(self, found: ByName) -> Finding:
        """Return what was found; undecided where a cell is missing or no learning rate worked for it."""
        missing = [name for name in self.needs if not found.get(name)]
        if missing:
            evidence = f"not measured in this form: {', '.join(missing)}."
            return Finding(self.claim, self.statement, "undecided", evidence)
        diverged = [name for name in self.needs if any(math.isnan(one.get("rate", 0.0)) for one in found[name])]
        if diverged:
            evidence = f"no learning rate worked for {', '.join(diverged)}."
            return Finding(self.claim, self.statement, "undecided", evidence)
        return Finding(self.claim, self.statement, *self.decide(found))


def _p1(found: ByName) -> tuple[Outcome, str]:
    """A gradient of 0, an accuracy as before."""
    solved = found["solved"]
    gradient = max(one["largest_gradient"] / one["raw_random"] for one in solved)
    other = min(one["pearson_solved"] / one["raw_random"] for one in solved)
    moved = max(abs(one["end"]["few_labels"] - one["start"]["few_labels"]) for one in solved)
    error = max(_binomial_error(one["start"]["few_labels"], one["num_test"]) for one in solved)
    return held_if(gradient < NO_GRADIENT and moved <= error), (
        f"the largest gradient of all steps is {gradient:.1e} of that with a random projector; the accuracy moved "
        f"by {moved:.2g} (standard error {error:.2g}). The Pearson loss with its own best projector has "
        f"{other:.1e}: solved or not, it asks something of the backbone."
    )


INVARIANCE = ("backbone_limit", "share_h")
"""Metrics of a backbone that are smaller where it is better; accuracies are larger."""
NAMES = {
    "backbone_limit": "L*_P(h)",
    "share_h": "share of augmentation",
    "few_labels": "100-label accuracy",
    "linear": "accuracy with all labels",
}


def p2(found: ByName, *, metrics: Sequence[str] = ("backbone_limit", "few_labels")) -> tuple[Outcome, str]:
    """Better than untrained and worse than Pearson, in L*_P(h) and in accuracy."""
    pearson = found["pearson-linear-trained"]
    outcomes, said = [], []
    for kind in ("covariance", "raw"):
        trained = found.get(f"{kind}-linear-trained")
        if not trained:
            continue
        parts = []
        for metric in metrics:
            smaller = metric in INVARIANCE
            better = _fall(trained, metric) if smaller else _rise(trained, metric)
            worse = paired(*((trained, pearson) if smaller else (pearson, trained)), metric)
            outcomes += [better.positive, worse.positive]
            moved, stayed = ("fell", "stayed above") if smaller else ("rose", "is below")
            parts.append(f"{NAMES[metric]} {moved} by {better} and {stayed} Pearson's by {worse}")
        said.append(f"{kind}: {'; '.join(parts)}")
    return all_of(outcomes), "; ".join(said) + "."


def p3(
    found: ByName, *, others: Mapping[str, str], metrics: Sequence[str] = ("backbone_limit", "share_h")
) -> tuple[Outcome, str]:
    """Less than half as far from Pearson as the loss without normalisation, in L*_P(h) and share of augmentation."""
    names = [f"{name}-linear-trained" for name in ("pearson", "covariance", *others.values())]
    pearson, without, *tried = (found[name] for name in names)
    outcomes, said = [], []
    for metric in metrics:
        far = _distances(without, pearson, metric)
        parts = []
        for label, other in zip(others, tried, strict=True):
            near = _distances(other, pearson, metric)
            room = over_seeds([NEAR * f - n for f, n in zip(far, near, strict=True)], ONE_SEED[metric])
            outcomes.append(room.positive)
            parts.append(f"{label} {fmean(near):.3g}")
        said.append(
            f"{NAMES[metric]} differs from Pearson's by {', '.join(parts)}, without normalisation {fmean(far):.3g}"
        )
    few = ", ".join(
        f"{name.split('-')[0]} {fmean(one['end']['few_labels'] for one in found[name]):.3f}" for name in names
    )
    return all_of(outcomes), f"{'; '.join(said)}. 100-label accuracies: {few}."


def p4(found: ByName, *, metrics: Sequence[str] = ("backbone_limit",)) -> tuple[Outcome, str]:
    """The identity of the gradients, and the order of the three MLPs."""
    none, inside, pearson = (
        found[name] for name in ("covariance-mlp-trained", "covariance-mlp_bn-trained", "pearson-mlp-trained")
    )
    same = max(one["gradient_difference"] for one in found["last_norm"])
    outcomes, parts = [held_if(same < SAME)], []
    for metric in metrics:
        smaller = metric in INVARIANCE
        better = paired(*((none, inside) if smaller else (inside, none)), metric)
        worse = paired(*((inside, pearson) if smaller else (pearson, inside)), metric)
        outcomes += [better.positive, worse.positive]
        nearer, farther = ("lower", "higher") if smaller else ("higher", "lower")
        parts.append(f"{NAMES[metric]} is {better} {nearer} than without any and {worse} {farther} than with Pearson")
    return all_of(outcomes), (
        f"gradients of the backbone differ by {same:.0e} with BatchNorm at the end; with BatchNorm inside only, "
        f"{', and '.join(parts)}."
    )


def _p5(found: ByName) -> tuple[Outcome, str]:
    """How much of the loss's fall an MLP on a frozen untrained backbone explains."""
    frozen, trained = found["pearson-mlp-frozen"], found["pearson-mlp-trained"]
    falls = [[one["start"]["pearson_loss"] - one["end"]["pearson_loss"] for one in each] for each in (frozen, trained)]
    shares = [a / b for a, b in zip(*falls, strict=True)]
    room = over_seeds([share - MOST for share in shares], ONE_SEED["share"])
    moved = max(abs(one["end"]["few_labels"] - one["start"]["few_labels"]) for one in frozen)
    losses = [
        fmean(one[when]["pearson_loss"] for one in each) for each in (frozen, trained) for when in ("start", "end")
    ]
    return all_of([room.positive, held_if(moved == 0)]), (
        f"{100 * fmean(shares):.0f}% of it (± {100 * room.margin:.0f}): {losses[0]:.2f} to {losses[1]:.2f} frozen, "
        f"{losses[2]:.2f} to {losses[3]:.2f} trained. The frozen backbone's accuracy moved by {moved:.2g} (it "
        f"cannot), the trained one's by {_rise(trained, 'few_labels')}."
    )


def _p7(found: ByName) -> tuple[Outcome, str]:
    """The number of directions that descent uses, and what a trained projector spends below the waterline."""
    cases = [one for cell in found["waterline"] for one in cell["found"]]
    off = [abs(one["active"] - one["predicted"]) for one in cases]
    above = max(one["loss"] / one["floor"] - 1 for one in cases)
    trained = [one["end"]["budget"]["below_waterline"] for one in found.get("pearson-linear-trained", ())]
    said = (
        f"exactly in {sum(one == 0 for one in off)} of {len(cases)} cases (of D and lambda), at most {max(off)} "
        f"off; predicted are {min(one['predicted'] for one in cases)} to {max(one['predicted'] for one in cases)} "
        f"directions of {max(one['width'] for one in cases)} outputs at most, and the losses end within "
        f"{100 * above:.2g}% of the floor."
    )
    if trained:
        below = 100 * fmean(trained)
        said += f" A projector trained on batches together with its backbone spends {below:.2g}% below it."
    return held_if(max(off) <= ONE_OFF), said


def _p8(found: ByName) -> tuple[Outcome, str]:
    """The slope and the level of the asymmetry of batches."""
    cases = [one[when]["asymmetry"] for one in found["pearson-linear-trained"] for when in ("start", "end")]
    sizes = cases[0]["sizes"]
    if len(sizes) < FEWEST_SIZES:
        return "undecided", "too few test images for batches of different sizes."
    logs = [[[math.log(value) for value in one[key]] for key in ("sizes", "measured")] for one in cases]
    slopes = [linear_regression(*one).slope for one in logs]
    ratios = [m / e for one in cases for m, e in zip(one["measured"], one["expected"], strict=True)]
    off = max(abs(slope + 0.5) for slope in slopes)
    level = max(abs(ratio - 1) for ratio in ratios)
    return held_if(off < SLOPE_TOLERANCE and level < LEVEL_TOLERANCE), (
        f"slopes {min(slopes):.3f} to {max(slopes):.3f} on logarithmic axes; measured over expected "
        f"{min(ratios):.3f} to {max(ratios):.3f}, untrained and trained, N = {sizes[0]:.0f} to {sizes[-1]:.0f}."
    )


def paired(a: Seeds, b: Seeds, metric: str) -> SeedMean:
    """How far a metric of a ends above that of b."""
    return over_seeds([x["end"][metric] - y["end"][metric] for x, y in zip(a, b, strict=True)], ONE_SEED[metric])


def _rise(seeds: Seeds, metric: str) -> SeedMean:
    """How far a metric ends above its start."""
    return over_seeds([one["end"][metric] - one["start"][metric] for one in seeds], ONE_SEED[metric])


def _fall(seeds: Seeds, metric: str) -> SeedMean:
    return over_seeds([one["start"][metric] - one["end"][metric] for one in seeds], ONE_SEED[metric])


def _distances(a: Seeds, b: Seeds, metric: str) -> list[float]:
    return [abs(x["end"][metric] - y["end"][metric]) for x, y in zip(a, b, strict=True)]


def _binomial_error(accuracy: float, count: int) -> float:
    return math.sqrt(accuracy * (1 - accuracy) / count)


UNMOVED = Prediction(
    "P1",
    "Without normalisation and with the linear projector solved exactly in each step, the backbone gets no "
    "gradient and stays as it was.",
    ("solved",),
    _p1,
)
NO_EVIDENCE = Prediction(
    "P5",
    "Under the Pearson loss, an MLP on a frozen untrained backbone makes most of the loss's fall without any "
    "change of accuracy: the loss is no evidence of a better backbone.",
    ("pearson-mlp-frozen", "pearson-mlp-trained"),
    _p5,
)

PREDICTIONS = (
    UNMOVED,
    Prediction(
        "P2",
        "Without normalisation, a linear projector trained by Adam improves the backbone: L*_P(h) and accuracy end "
        "between untrained and Pearson.",
        ("covariance-linear-trained", "pearson-linear-trained"),
        p2,
    ),
    Prediction(
        "P3",
        "One scalar, or the length of each centred sample, does for the backbone what Pearson does: it ends less than "
        "half as far from it as without normalisation, equally tuned. Invariance takes a normalisation, not Pearson's.",
        tuple(f"{name}-linear-trained" for name in ("pearson", "covariance", "scalar", CENTRED)),
        partial(p3, others={"scalar": "scalar", "cosine": CENTRED}),
    ),
    Prediction(
        "P3",
        "The length of each sample does the same where samples are not centred.",
        tuple(f"{name}-linear-trained" for name in ("pearson", "covariance", "sample_cosine")),
        partial(p3, others={"uncentred cosine": "sample_cosine"}),
    ),
    Prediction(
        "P4",
        "Without normalisation of the loss, BatchNorm as the projector's last layer is Pearson, and BatchNorm inside "
        "only lies between.",
        ("last_norm", "covariance-mlp-trained", "covariance-mlp_bn-trained", "pearson-mlp-trained"),
        p4,
    ),
    NO_EVIDENCE,
    Prediction(
        "P7",
        "With small lambda or large D, the directions in use are those above the waterline of Theorem 2.",
        ("waterline",),
        _p7,
    ),
    Prediction(
        "P8",
        "|C - C^T| of a batch of N falls as 1/sqrt(N), at the level sqrt(sum 2 (1 - rho_i rho_j) / (N - 1)).",
        ("pearson-linear-trained",),
        _p8,
    ),
)
"""P6 is in `projector.py`."""


NO_VARIANT = ("solved", "waterline", "last_norm")
WITH_DEVIATION = ("backbone_limit", "few_labels")
"""Metrics whose standard deviation over seeds is shown."""
COLORS = ("c1", "c2", "c3")


def _variants(found: ByName) -> dict[str, Seeds]:
    return {name: seeds for name, seeds in found.items() if name not in NO_VARIANT}


def backbones(found: ByName) -> Table:
    """Return the figures of every backbone, untrained and at the end, mean over seeds."""
    titles = {
        "backbone_limit": "L*_P(h)",
        "share_h": "share of augmentation",
        "mean_rho": "mean rho",
        "effective_rank": "effective rank",
        "few_labels": "100 labels",
        "linear": "all labels",
        "knn": "neighbours",
    }
    variants = _variants(found)
    states = [("untrained", "start", next(iter(variants.values())))]
    states += [(name, "end", seeds) for name, seeds in variants.items() if not name.endswith("frozen")]
    if "solved" in found:
        states.append(("raw, projector solved", "end", found["solved"]))
    deviations = WITH_DEVIATION if len(states[0][2]) > 1 else ()
    head = [""]
    rows: list[list[int | float | str]] = [[name] for name, _, _ in states]
    for key, title in titles.items():
        head += [title, "sd"] if key in deviations else [title]
        for row, (_, when, seeds) in zip(rows, states, strict=True):
            values = [one[when][key] for one in seeds]
            row += [fmean(values), stdev(values)] if key in deviations else [fmean(values)]
    return Table(
        "Backbones",
        "On test images with all 54 views. L*_P(h): least Pearson loss of a linear projector on this backbone; share "
        "of augmentation: tr W / tr T; accuracies: 100 labels, all labels, 20 neighbours; sd: over seeds.",
        head,
        rows,
    )


def losses(found: ByName) -> Table:
    """Return the losses of z of every variant, at the start and at the end."""
    return Table(
        "Losses",
        "Complete losses of z on test images, evaluation mode, mean over seeds. D = 32 is the loss of z = 0. Share of "
        "augmentation in the variance of z. Own losses of different normalisations are different things.",
        ["", "own, start", "own, end", "Pearson, start", "Pearson, end", "share in z, start", "share in z, end"],
        [
            [
                name,
                *(
                    fmean(one[when][key] for one in seeds)
                    for key in ("own_loss", "pearson_loss", "share_z")
                    for when in ("start", "end")
                ),
            ]
            for name, seeds in _variants(found).items()
        ],
    )


def rates_tried(found: ByName) -> Table:
    """Return what every variant was chosen by, with the weights where those were chosen too."""
    variants = _variants(found)
    tried = [name for name in next(iter(variants.values()))[0]["validation"] if WITH not in name]
    weights = any(WITH in name for seeds in variants.values() for one in seeds for name in one["validation"])
    return Table(
        "Learning rates and gradients",
        "Own complete loss on validation images at each rate, by which the rate was chosen; gradients: that of the "
        "backbone over that of the projector at the end.",
        [
            "",
            "chosen, by seed",
            *(["weight, by seed"] if weights else []),
            *(f"loss at {rate}" for rate in tried),
            "gradients",
        ],
        [
            [
                name,
                ", ".join(f"{one['rate']:g}" for one in seeds),
                *([", ".join(f"{one['weight']:g}" for one in seeds)] if weights else []),
                *(fmean(one["validation"][rate] for one in seeds) for rate in tried),
                fmean(one["gradient_ratio"] for one in seeds),
            ]
            for name, seeds in variants.items()
        ],
    )


def _asymmetry(found: ByName) -> Plot | None:
    name = "pearson-linear-trained"
    if name not in found:
        return None
    curves = []
    for color, (when, label) in zip(COLORS, (("start", "untrained"), ("end", "trained")), strict=False):
        one = found[name][0][when]["asymmetry"]
        curves.append(Curve(label, one["sizes"], one["measured"], color))
        curves.append(Curve(f"{label}, formula", one["sizes"], one["expected"], color, dashed=True))
    reading = "Pearson, linear, one seed; root mean square of |C - C^T| over batches of N pairs. P8."
    return Plot("Asymmetry of a batch", reading, "N", curves, log_x=True, log_y=True)


def _waterline(found: ByName) -> Plot | None:
    if "waterline" not in found:
        return None
    cases = found["waterline"][0]["found"]
    curves = []
    for color, width in zip(COLORS, dict.fromkeys(one["width"] for one in cases), strict=False):
        own = [one for one in cases if one["width"] == width]
        weights = [one["weight"] for one in own]
        curves.append(Curve(f"D = {width}", weights, [one["active"] for one in own], color))
        curves.append(Curve("", weights, [one["predicted"] for one in own], color, dashed=True))
    reading = "Directions in use after descent on an untrained backbone, one seed; dashed: above the waterline. P7."
    return Plot("Directions in use", reading, "lambda", curves, log_x=True)
