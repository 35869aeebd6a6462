"""Study: what a wider and deeper projector does to the loss, to the invariance of z, and to the backbone (P6).

Under the Pearson loss, projectors of 0 to 3 hidden layers with 32, 128 or 512 units, without BatchNorm, on the same
untrained backbone, once frozen and once trained with it:

    projector's share = (start - end with the backbone frozen) / (start - end with the backbone trained)

The output stays at D = 32: with another D the loss would be a different one, with a floor of its own, and neither
losses nor L*_P(h) could be compared. So there is one linear projector, and the width is that of the hidden layers.
Data, views, backbone, training and the choice of the rate are those of the study of the normalisation.
"""

from pathlib import Path
from typing import Any

from barlow.studies.arm_figures import measure_arm
from barlow.studies.cells import Cell, Figures
from barlow.studies.enumerated_views import load_enumerated
from barlow.studies.projector_findings import conclude
from barlow.studies.study import Settings, Study
from barlow.studies.training_cell import RATES, Arm, fresh_networks, train_arm

WIDTH = 32
"""D."""
GRID = ["linear-32", *("-".join([str(width)] * depth + ["32"]) for depth in (1, 2, 3) for width in (32, 128, 512))]
QUICK = ["linear-32", "128-32", "512-512-32"]
"""From the smallest to a large one."""
STEPS = {"quick": 300, "core": 1000, "whole": 2000}
QUICK_RATES = (0.003, 0.01)
MOST_TRAIN, MOST_TEST = 6000, 1000


def plan(settings: Settings) -> list[Cell]:
    """Return one cell per projector and seed; each trains twice, with the backbone frozen and not.

    Args:
        settings: data, seeds and form; the whole form trains for twice as many steps.
    """
    form = settings.form
    return [
        Cell(
            f"{widths}-seed{seed}",
            measure,
            {
                "data": settings.data,
                "data_root": settings.data_root,
                "widths": widths,
                "seed": seed,
                "steps": STEPS[form],
                "rates": list(QUICK_RATES if form == "quick" else RATES),
                "draws": 3 if form == "quick" else 5,
                "most_train": MOST_TRAIN,
                "most_test": MOST_TEST,
            },
        )
        for seed in range(settings.seeds)
        for widths in (QUICK if form == "quick" else GRID)
    ]


def measure(
    work: Path,
    *,
    data: str,
    data_root: str,
    widths: str,
    seed: int,
    steps: int,
    rates: list[float],
    draws: int,
    most_train: int,
    most_test: int,
) -> Figures:
    """Train one projector, with the backbone frozen and not, and return the figures of both.

    Args:
        work: not used.
        data: a name or a path.
        data_root: where named data sets live.
        widths: of the projector.
        seed: of weights, batches and views.
        steps: of Adam.
        rates: to choose from.
        draws: of 100 labels.
        most_train: images, at most.
        most_test: images, at most.
    """
    loaded = load_enumerated(data, data_root, most_train=most_train, most_test=most_test, seed=seed)
    found: dict[str, Any] = {"num_test": len(loaded.test.labels)}
    for state in ("frozen", "trained"):
        arm = Arm("pearson", widths, "none", frozen=state == "frozen")
        before = fresh_networks(loaded, arm, seed)
        trained = train_arm(loaded, arm, seed=seed, steps=steps, rates=rates)
        found[state] = measure_arm(loaded, arm, trained, before, width=WIDTH, seed=seed, draws=draws)
    found["num_parameters"] = sum(p.numel() for p in trained.projector.parameters())
    return found


STUDY = Study(
    "Width and depth of the projector",
    "The paper says: minimising the Pearson loss enforces invariance in the backbone's output (its conclusion). The "
    "loss sees the projector's output z only; the more a projector can do by itself, the less it has to ask of the "
    "backbone.",
    plan,
    conclude,
)
