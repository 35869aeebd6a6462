"""Study: is it the Pearson normalisation that makes Barlow Twins work? A grid, and predictions P1 to P5, P7 and P8.

    {raw, covariance, scalar, feature_cosine, sample_cosine, centred_cosine, pearson, whiten}
        x {linear, MLP without BatchNorm, MLP with BatchNorm} x {frozen, trained backbone}

raw is equation 3 as printed, not centred, and covariance the same centred; feature_cosine is equation 1 as printed,
not centred, and pearson the same centred; sample_cosine is what the loss of that name does, and centred_cosine the same
with the mean taken away before. No weight decay, no BatchNorm in the backbone, z of variance 1 at the start,
and for every arm the rate with the least own complete loss on held-out images (`training_cell.py`); the core form
tries four rates on a quarter of the steps.

The core form leaves out what the predictions do not ask for. Twelve cells tell:

    all but whiten, linear, trained               P2, P3, P7, P8: everything but the loss is the same
    pearson MLP, frozen and trained               P5: the projector's share of the loss's fall
    covariance MLP, without and with BatchNorm    P4: normalisation that comes in by the projector
    raw, linear, solved in every step             P1: the only regime where the claim can be tested to the letter

No prediction asks for whiten. The frozen linear arms need no training, for Theorem 2 is their answer; raw and
covariance, trained and linear, show what centring does, and nothing suggests that it does more under an MLP. Two more
cells train nothing: the waterline (P7) and the identity of P4. Quick: what P1, P3 and P5 need.
"""

from pathlib import Path
from typing import get_args

import torch
from torch import nn

from barlow.methods.barlow_twins import Normalization, barlow_twins_loss
from barlow.studies.arm_figures import measure_arm
from barlow.studies.cells import Cell, Figures
from barlow.studies.enumerated_views import load_enumerated
from barlow.studies.normalization_findings import conclude
from barlow.studies.solved_projector import measure_solved
from barlow.studies.study import Settings, Study
from barlow.studies.training_cell import RATES, WEIGHT, Arm, fresh_networks, train_arm
from barlow.studies.waterline import measure_waterline

WIDTH = 32
"""D, below d = 64: the raw loss has its infimum 0 on every backbone."""
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
"""Of the runs that choose a rate; four whole ones for every arm would double the three core-hours of the core form."""
QUICK_RATES = (0.003, 0.01)
"""The better ones of 0.001, 0.003 and 0.01 for each of four arms on digits."""
MOST_TRAIN, MOST_TEST = 6000, 1000
"""Images; the test images of Fashion-MNIST with all views are 54,000 pictures for each measurement."""
DRAWS = {"quick": 3, "core": 5, "whole": 5}
"""Of 100 labels; a quarter of the quick form's time."""
SOLVED_STEPS = {"quick": 20, "core": 200, "whole": 200}
SOLVED_RATE = 0.003
WATERLINE_STEPS = 3000
"""After 500 steps, budgets just below the waterline have not gone yet."""


def plan(settings: Settings) -> list[Cell]:
    """Return the cells of a form: arms of the grid, the solved projector, and what trains nothing.

    Args:
        settings: data, seeds and form.
    """
    form = settings.form
    names = {"quick": QUICK, "core": CORE, "whole": WHOLE}[form]
    cells = []
    for seed in range(settings.seeds):
        images = {
            "data": settings.data,
            "data_root": settings.data_root,
            "seed": seed,
            "most_train": MOST_TRAIN,
            "most_test": MOST_TEST,
        }
        training = {
            "steps": STEPS[form],
            "trial_steps": TRIAL_STEPS[form],
            "rates": list(QUICK_RATES if form == "quick" else RATES),
        }
        draws = {"draws": DRAWS[form]}
        cells += [Cell(f"{name}-seed{seed}", measure, {"name": name, **images, **training, **draws}) for name in names]
        solved = {**images, "steps": SOLVED_STEPS[form], "rate": SOLVED_RATE, **draws}
        cells.append(Cell(f"solved-seed{seed}", measure_solved, solved))
        if form != "quick":
            grid = {"steps": WATERLINE_STEPS, "widths": [16, 32, 64], "weights": [0.005, 0.02, 0.1]}
            cells.append(Cell(f"waterline-seed{seed}", measure_waterline, {**images, **grid}))
            cells.append(Cell(f"last_norm-seed{seed}", measure_last_norm, images))
    return cells


def measure(
    work: Path,
    *,
    name: str,
    data: str,
    data_root: str,
    seed: int,
    most_train: int,
    most_test: int,
    steps: int,
    trial_steps: int,
    rates: list[float],
    draws: int,
) -> Figures:
    """Train one arm and return its figures.

    Args:
        work: not used.
        name: of the arm, <normalisation>-<projector>-<frozen or trained>.
        data: a name or a path.
        data_root: where named data sets live.
        seed: of weights, batches and views.
        most_train: images, at most.
        most_test: images, at most.
        steps: of Adam.
        trial_steps: of Adam, where the rate is chosen.
        rates: to choose from.
        draws: of 100 labels.
    """
    arm = arm_of(name)
    loaded = load_enumerated(data, data_root, most_train=most_train, most_test=most_test, seed=seed)
    before = fresh_networks(loaded, arm, seed)
    trained = train_arm(loaded, arm, seed=seed, steps=steps, rates=rates, trial_steps=trial_steps)
    return measure_arm(loaded, arm, trained, before, width=WIDTH, seed=seed, draws=draws)


def arm_of(name: str) -> Arm:
    """Return the arm of a name.

    Args:
        name: <normalisation>-<projector>-<frozen or trained>.
    """
    normalization, projector, state = name.split("-")
    widths, norm = PROJECTORS[projector]
    own = "sample_cosine" if normalization == CENTRED else normalization
    return Arm(own, widths, norm, state == "frozen", normalization == CENTRED)  # type: ignore[arg-type]


def measure_last_norm(work: Path, *, data: str, data_root: str, seed: int, most_train: int, most_test: int) -> Figures:
    """Return how far the raw loss behind a BatchNorm without scale and offset is from the Pearson loss, on one batch.

    Args:
        work: not used.
        data: a name or a path.
        data_root: where named data sets live.
        seed: of weights, batch and views.
        most_train: images, at most.
        most_test: images, at most.
    """
    loaded = load_enumerated(data, data_root, most_train=most_train, most_test=most_test, seed=seed)
    backbone, projector = fresh_networks(loaded, arm_of("raw-mlp-trained"), seed)
    generator = torch.Generator().manual_seed(seed)
    pixels = loaded.fit.pixels[:256]
    views = [loaded.draw(pixels, generator) for _ in range(2)]
    last = nn.BatchNorm1d(WIDTH, affine=False)
    gradients = []
    for end, normalization in ((last, "raw"), (nn.Identity(), "pearson")):
        z_a, z_b = (end(projector(backbone(view))) for view in views)
        loss = barlow_twins_loss(z_a, z_b, redundancy_weight=WEIGHT, normalization=normalization).total  # type: ignore[arg-type]
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(backbone.parameters()))]))
    difference = float((gradients[0] - gradients[1]).norm() / gradients[1].norm())
    return {"gradient_difference": difference}


STUDY = Study(
    "Normalisation: what it takes for the backbone to learn",
    "The paper says: without normalisation (equation 3) a linear projector reaches the minimum of the loss on any "
    "backbone, so the loss teaches the backbone nothing, and it is the Pearson normalisation (equation 7) that forces "
    "invariance and makes Barlow Twins work.",
    plan,
    conclude,
)
