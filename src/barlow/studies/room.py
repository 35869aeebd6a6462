"""Study: what Fashion-MNIST could not decide, asked again in a world with room (`canvas.py`): P1 to P5 by accuracy.

With 100 labels an untrained network tells clothes in the middle of a black square nearly as well as any trained one
(.606, .648 at best), so no arm of `normalization.py` could be told from another by its accuracy. On a canvas it has
less than half of what training reaches. The arms are the twelve of that study's core form, each trained as there
(`variants.py`), and the optimal projector:

    seven normalisations, linear, trained                                    P2, P3
    pearson MLP frozen and trained, covariance MLP without and with BatchNorm    P4, P5
    raw, linear, solved in every step                                        P1
    optimal                                                                  no projector, solved in every step

Fixed before the first cell was run. Every arm has the same budget of search: four rates at the weight that all are
judged by (lambda = 0.02, shrinkage 0.2), then half and twice that weight at the best rate, chosen by the least own
complete loss on images held out, judged by the one weight; a trial has a quarter of the steps. Accuracies are those of
pictures that lie anywhere, as a view does. Intervals are paired by seed: the two-sided 90% of Student's t, so that
"held" and "failed" are each wrong in one case of twenty. Invariance and accuracy are separate statements.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from barlow.report.study_page import Conclusion, Curve, Outcome, Plot, Table
from barlow.studies.canvas import load_on_canvas
from barlow.studies.cells import Cell, Finished, Metrics
from barlow.studies.normalization import (
    CENTRED,
    CORE,
    INVARIANCE,
    NAMES,
    NO_EVIDENCE,
    SOLVED_RATE,
    UNMOVED,
    ByName,
    Prediction,
    backbones,
    by_name,
    last_norm_on,
    losses,
    p2,
    p3,
    p4,
    paired,
    rates_tried,
    variant_of,
)
from barlow.studies.outcomes import all_of
from barlow.studies.solved_projector import solved_on
from barlow.studies.study import Settings, Study
from barlow.studies.variants import MOST_TEST, MOST_TRAIN, Variant, measure_variant

OPTIMAL = "optimal-none-trained"
ARMS = [*CORE, OPTIMAL]
RATES = [0.0003, 0.001, 0.003, 0.01]
STEPS, TRIAL_STEPS = 300, 75
SOLVED_STEPS = 20
DRAWS = 3
QUICK = ["pearson-linear-trained", "covariance-linear-trained", OPTIMAL]
QUICK_SIZES = {"steps": 100, "trial_steps": 25}


def _cells(settings: Settings) -> list[Cell]:
    """The arms, the solved projector and the identity of P4; all of one seed before the next."""
    quick = settings.form == "quick"
    sizes = QUICK_SIZES if quick else {"steps": STEPS, "trial_steps": TRIAL_STEPS}
    cells = []
    for seed in range(settings.seeds):
        images = {**settings.data_arguments, "seed": seed, "most_train": MOST_TRAIN, "most_test": MOST_TEST}
        cells += [
            Cell(f"{name}-seed{seed}", _measure, {"name": name, **images, **sizes, "rates": RATES, "draws": DRAWS})
            for name in (QUICK if quick else ARMS)
        ]
        if not quick:
            solved = {**images, "steps": SOLVED_STEPS, "rate": SOLVED_RATE, "draws": DRAWS}
            cells += [Cell(f"solved-seed{seed}", _solved, solved), Cell(f"last_norm-seed{seed}", _last_norm, images)]
    return cells


def _measure(
    work: Path, *, name: str, seed: int, steps: int, trial_steps: int, rates: list[float], draws: int, **source: Any
) -> Metrics:
    variant = Variant("optimal", "none", "none", frozen=False) if name == OPTIMAL else variant_of(name)
    return measure_variant(
        load_on_canvas(**source, seed=seed),
        variant,
        seed=seed,
        steps=steps,
        rates=rates,
        draws=draws,
        trial_steps=trial_steps,
        weights=(variant.weight / 2, variant.weight * 2),
    )


def _solved(work: Path, *, seed: int, steps: int, rate: float, draws: int, **source: Any) -> Metrics:
    return solved_on(load_on_canvas(**source, seed=seed), seed=seed, steps=steps, rate=rate, draws=draws)


def _last_norm(work: Path, *, seed: int, **source: Any) -> Metrics:
    return last_norm_on(load_on_canvas(**source, seed=seed), seed)


ACCURACY = ("few_labels", "linear")


def _optimal(found: ByName) -> tuple[Outcome, str]:
    """Both accuracies of the optimal projector above those of Barlow Twins with each of its projectors."""
    outcomes, said = [], []
    for name in ("pearson-linear-trained", "pearson-mlp-trained"):
        for metric in ACCURACY:
            above = paired(found[OPTIMAL], found[name], metric)
            outcomes.append(above.positive)
            said.append(f"{NAMES[metric]} above that of Barlow Twins, {name.split('-')[1]}, by {above}")
    return all_of(outcomes), "; ".join(said) + "."


def _linear(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}-linear-trained" for name in ("pearson", "covariance", *names))


CENTRED_ARMS = {"scalar": "scalar", "cosine": CENTRED}
PREDICTIONS = (
    Prediction(
        "P2",
        "Without normalisation, a linear projector trained by Adam improves the backbone: accuracies with 100 and with "
        "all labels end between untrained and Pearson.",
        _linear(),
        partial(p2, metrics=ACCURACY),
    ),
    Prediction(
        "P2",
        "... and so does invariance: L*_P(h) ends between untrained and Pearson.",
        _linear(),
        partial(p2, metrics=("backbone_limit",)),
    ),
    Prediction(
        "P3",
        "One scalar, or the length of each centred sample, does for accuracy what Pearson does: it ends less than half "
        "as far from it as without normalisation.",
        _linear("scalar", CENTRED),
        partial(p3, others=CENTRED_ARMS, metrics=ACCURACY),
    ),
    Prediction(
        "P3",
        "... and for invariance.",
        _linear("scalar", CENTRED),
        partial(p3, others=CENTRED_ARMS, metrics=INVARIANCE),
    ),
    Prediction(
        "P3",
        "The length of each sample does the same for accuracy where samples are not centred.",
        _linear("sample_cosine"),
        partial(p3, others={"uncentred cosine": "sample_cosine"}, metrics=ACCURACY),
    ),
    Prediction(
        "P4",
        "Without normalisation of the loss, BatchNorm as the projector's last layer is Pearson, and BatchNorm inside "
        "only lies between in accuracy.",
        ("last_norm", "covariance-mlp-trained", "covariance-mlp_bn-trained", "pearson-mlp-trained"),
        partial(p4, metrics=ACCURACY),
    ),
    Prediction(
        "P4",
        "... and in invariance.",
        ("last_norm", "covariance-mlp-trained", "covariance-mlp_bn-trained", "pearson-mlp-trained"),
        p4,
    ),
    UNMOVED,
    NO_EVIDENCE,
    Prediction(
        "optimal",
        "With an equal budget of search, the optimal projector's accuracies are above those of Barlow Twins, with a "
        "linear projector and with an MLP.",
        (OPTIMAL, "pearson-linear-trained", "pearson-mlp-trained"),
        _optimal,
    ),
)


def _conclude(cells: Sequence[Finished]) -> Conclusion:
    found = by_name(cells)
    parts: list[Table | Plot] = [_accuracies(found), backbones(found), losses(found), rates_tried(found)]
    return Conclusion([prediction.finding(found) for prediction in PREDICTIONS], parts)


def _accuracies(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> Plot:
    """Accuracy against invariance, a point an arm."""
    names = [name for name in ARMS if name in found and not name.endswith("frozen")]
    curves = [
        Curve(
            name.removesuffix("-trained"),
            [fmean(one["end"]["backbone_limit"] for one in found[name])],
            [fmean(one["end"]["few_labels"] for one in found[name])],
            f"c{1 + place % 3}",
        )
        for place, name in enumerate(names)
    ]
    return Plot(
        "Accuracy against invariance",
        "An arm a point, mean over seeds: left is more invariant, above is more accurate.",
        "least Pearson loss of a linear projector on this backbone, L*_P(h)",
        curves,
        y_name="accuracy with 100 labels",
    )


STUDY = Study(
    "Normalisation in a world with room",
    "The paper says: without normalisation the loss teaches the backbone nothing, and it is the Pearson normalisation "
    "that makes Barlow Twins work. Here it is asked where an untrained network has much to gain.",
    _cells,
    _conclude,
    seeds=5,
)
