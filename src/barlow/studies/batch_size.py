"""Study: what a batch of N adds to the loss, how asymmetric it makes C, and the floors, against the formulas.

Features with the complete matrices T = I and C = diag(rho), Pearson, to first order in 1/N (C16):

    E C_ij^2 = 1/(N-1)           E (C_ij - C_ji)^2 = 2 (1 - rho_i rho_j)/(N-1)                        i != j
    E L = L + lambda D (D-1)/(N-1) + sum_i (1-rho_i^2)^2/N + sum_i rho_i (1-rho_i)(1-rho_i^2)/N

The last sum is not in C16: a sample correlation is too small by rho (1-rho^2)/(2N), which (1-C_ii)^2 feels. Without
variances (raw, centred by the complete mean) nothing is approximate and nothing has to be Gaussian:

    E L = L + (1/N) sum_ij w_ij (E (z_i^A z_j^B)^2 - C_ij^2),        w_ii = 1, w_ij = lambda

and bias="removed" gives L itself. Both are measured where the complete C is known: on Gaussian features by
construction, and on a trained backbone by drawing images and views with replacement from a finite set, all of whose
pairs make up the complete C. The floors are compared with direct optimisation of free embeddings.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from barlow.correlation import standardize
from barlow.data.sources import load_source
from barlow.machine import Machine
from barlow.methods.barlow_twins import Bias, Normalization, barlow_twins_loss
from barlow.pretraining import pretrain
from barlow.recipes import with_numbers
from barlow.studies.batch_size_findings import conclude
from barlow.studies.cells import Cell, Figures
from barlow.studies.features import load_material, two_halves, view_features
from barlow.studies.matrix_loss import matrix_loss
from barlow.studies.study import Settings, Study
from barlow.theory.complete import complete_cross_correlation
from barlow.theory.floors import batch_floor
from barlow.theory.intraclass import intraclass_correlations
from barlow.theory.moments import Moments

Pair = tuple[Tensor, Tensor]

WIDTH, WEIGHT = 32, 0.05
"""D and lambda, so that the excess at N = 32 is a quarter of the loss and the floor is far below both."""
RHO = (0.2, 0.95)
"""Ends of the even spectrum of the Gaussian features."""
NUM_VIEWS = 8
FLOORS = ((16, 32, 0.05), (8, 32, 0.05), (8, 24, 0.5))
"""(N, D, lambda) of which the floor is looked for by optimisation; small enough for many starts."""
STARTS = 3


def _cells(settings: Settings) -> list[Cell]:
    quick = settings.form == "quick"
    draws = {"batches": [16, 32, 64, 128, 256, 512, 1024], "draws": 300 if quick else 2000}
    cells = [Cell("floors", _floors, {"cases": [list(case) for case in FLOORS]})]
    for seed in range(settings.seeds):
        cells.append(Cell(f"gaussian-seed{seed}", _gaussian, {"seed": seed, **draws}))
        given = {
            "data": settings.data,
            "data_root": settings.data_root,
            "seed": seed,
            "most_images": 1200 if quick else 5000,
        }
        given |= {"numbers": {"precision": "32-true"} | ({"epochs": 10} if quick else {})}
        cells.append(Cell(f"trained-seed{seed}", _trained, given | draws))
    return cells


def _gaussian(work: Path, *, seed: int, batches: list[int], draws: int) -> Figures:
    rho = torch.linspace(*RHO, WIDTH, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)

    def draw(num: int) -> Pair:
        shared, a, b = torch.randn(3, num, WIDTH, dtype=torch.float64, generator=generator)
        return rho.sqrt() * shared + (1 - rho).sqrt() * a, rho.sqrt() * shared + (1 - rho).sqrt() * b

    # E (z_i^A z_j^B)^2 = 1 for i != j, and 1 + 2 rho_i^2 for i = j.
    squares = torch.ones(WIDTH, WIDTH, dtype=torch.float64) + 2 * rho.square().diag()
    return _against_formulas(draw, rho.diag(), squares, batches, draws)


def _trained(
    work: Path,
    *,
    data: str,
    data_root: str,
    seed: int,
    most_images: int,
    numbers: dict[str, Any],
    batches: list[int],
    draws: int,
) -> Figures:
    """Train, take the D most invariant directions of h, whitened, and draw batches from all images and views."""
    material = load_material(data, data_root)
    recipe = with_numbers(material.recipe, numbers | {"seed": seed})
    unlabelled = load_source(data, data_root=data_root or None, labels="none")  # accuracies would take longer than C
    machine = Machine(quiet=True, accelerator="cpu", devices="1")
    run = pretrain(unlabelled, recipe=recipe, out=work / "run", machine=machine)
    if not run.finished:
        raise KeyboardInterrupt  # a signal stopped the training after a checkpoint: the cell is not finished either
    own, _ = two_halves(material, 2 * most_images, seed)
    h = view_features(run.backbone.eval(), material, own[:most_images], num_views=NUM_VIEWS, seed=seed)
    moments = Moments(h.shape[2], num_blocks=1)
    moments.add(h)
    complete = moments.population()
    spectrum = intraclass_correlations(complete.between, complete.total)
    z = (h - complete.mean) @ spectrum.directions[:WIDTH].T
    generator = torch.Generator().manual_seed(seed)

    def draw(num: int) -> Pair:
        images = torch.randint(len(z), (num,), generator=generator)
        views = torch.randint(NUM_VIEWS, (2, num), generator=generator)
        return z[images, views[0]], z[images, views[1]]

    second = z.square().mean(dim=1)  # of each image, over its views, which are independent of each other
    kurtosis = float(z.pow(4).mean())
    figures = _against_formulas(draw, complete_cross_correlation(z), second.T @ second / len(z), batches, draws)
    return figures | {"kurtosis": kurtosis, "num_images": len(z)}


def _against_formulas(
    draw: Callable[[int], Pair], complete: Tensor, squares: Tensor, batches: list[int], draws: int
) -> Figures:
    """Draw batches of every size.

    Args:
        draw: N -> two views with mean 0 and T = I.
        complete: (D, D) C, about diagonal.
        squares: (D, D) E (z_i^A z_j^B)^2.
        batches: sizes N.
        draws: batches of each size.
    """
    rho = complete.diagonal()
    weights = torch.full_like(squares, WEIGHT).fill_diagonal_(1.0)
    raw_noise = float((weights * (squares - complete.square())).sum())
    off = ~torch.eye(len(rho), dtype=torch.bool)
    rows = []
    for num in batches:
        found: dict[str, list[float]] = {}
        sums = torch.zeros(2, len(rho), len(rho), dtype=torch.float64)
        for _ in range(draws):
            z_a, z_b = draw(num)
            c = standardize(z_a, eps=0.0).T @ standardize(z_b, eps=0.0) / num
            skew = (c - c.T).square()
            sums += torch.stack([c.square(), skew])
            one = {
                "loss": float(matrix_loss(c, WEIGHT)),
                "loss_removed": _loss(z_a, z_b, "pearson", "removed"),
                "raw": _loss(z_a, z_b, "raw", "kept"),
                "raw_removed": _loss(z_a, z_b, "raw", "removed"),
                "asymmetry": float(skew.sum()),
            }
            for name, value in one.items():
                found.setdefault(name, []).append(value)
        square, skew = sums / draws
        chance = 2 * (1 - torch.outer(rho, rho)) / (num - 1)
        rows.append(
            {"batch": num, "off_diagonal": float(square[off].mean()), "skew": float(skew[off].mean())}
            | {name: _mean_and_error(values) for name, values in found.items()}
            | {"least_loss": min(found["loss"]), "floor": batch_floor(num, len(rho), WEIGHT)}
            | {"expected_skew": float(chance[off].mean()), "skew_slope": _slope(chance[off], skew[off])}
            | _predictions(rho, num)
            | {"raw_expected": float(matrix_loss(complete, WEIGHT)) + raw_noise / num}
        )
    return {"rho": rho.tolist(), "complete": float(matrix_loss(complete, WEIGHT)), "rows": rows}


def _predictions(rho: Tensor, num: int) -> Figures:
    width = len(rho)
    noise = WEIGHT * width * (width - 1) / (num - 1)
    diagonal = float((1 - rho.square()).square().sum()) / num
    shrunk = float((rho * (1 - rho) * (1 - rho.square())).sum()) / num
    return {"excess_off_diagonal": noise, "excess_diagonal": diagonal, "excess_shrunk": shrunk}


def _loss(z_a: Tensor, z_b: Tensor, normalization: Normalization, bias: Bias) -> float:
    terms = barlow_twins_loss(z_a, z_b, redundancy_weight=WEIGHT, normalization=normalization, bias=bias)
    return float(terms.total)


def _mean_and_error(values: list[float]) -> list[float]:
    """Mean and its standard error."""
    found = torch.tensor(values, dtype=torch.float64)
    return [float(found.mean()), float(found.std()) / len(values) ** 0.5]


def _slope(expected: Tensor, found: Tensor) -> float:
    """Least squares of found on expected, through their means: 1 where each pair (i, j) follows its own formula."""
    centred = expected - expected.mean()
    return float((centred * (found - found.mean())).sum() / centred.square().sum())


def _floors(work: Path, *, cases: list[list[int | float]]) -> Figures:
    rows = []
    for given in cases:
        num, width, weight = int(given[0]), int(given[1]), given[2]
        found = min(_least_loss(num, width, weight, seed) for seed in range(STARTS))
        rows.append(
            {"batch": num, "width": width, "weight": weight, "floor": batch_floor(num, width, weight), "found": found}
        )
    return {"rows": rows}


def _least_loss(num: int, width: int, weight: float, seed: int) -> float:
    """The Pearson loss of free embeddings after L-BFGS: no network can do better on such a batch."""
    z = torch.randn(2, num, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    z.requires_grad_()
    optimizer = torch.optim.LBFGS([z], max_iter=2000, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = matrix_loss(standardize(z[0], eps=0.0).T @ standardize(z[1], eps=0.0) / num, weight)
        loss.backward()
        return loss

    optimizer.step(closure)
    return float(closure().detach())


STUDY = Study(
    "What the batch size does",
    "The paper argues with the complete cross-correlation, over all images and all pairs of augmentations (equations "
    "4 to 7), and trains on batches. A batch has a matrix of its own: noisy, not symmetric, of rank N - 1 at most.",
    _cells,
    conclude,
)
