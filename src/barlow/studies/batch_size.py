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

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import linear_regression
from typing import Any

import torch
from torch import Tensor

from barlow.methods.barlow_twins import Bias, Normalization, barlow_twins_loss
from barlow.recipes import with_numbers
from barlow.report.study_page import Conclusion, Curve, Finding, Outcome, Plot, Table
from barlow.runs.pretrain import pretrain
from barlow.statistics.correlation import matrix_loss, standardize
from barlow.studies.cells import Cell, Finished, Metrics
from barlow.studies.images import load_sampled
from barlow.studies.outcomes import held_if
from barlow.studies.study import Settings, Study
from barlow.theory.cross_correlation import complete_cross_correlation
from barlow.theory.floors import batch_floor
from barlow.theory.intraclass import intraclass_correlations
from barlow.theory.moments import population_covariances
from barlow.training.machine import Machine

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
    training = {
        "most_images": 1200 if quick else 5000,
        "numbers": {"precision": "32-true"} | ({"epochs": 10} if quick else {}),
    }
    cells = [Cell("floors", _floors, {"cases": [list(case) for case in FLOORS]})]
    for seed in range(settings.seeds):
        cells.append(Cell(f"gaussian-seed{seed}", _gaussian, {"seed": seed, **draws}))
        cells.append(
            Cell(f"trained-seed{seed}", _trained, {**settings.data_arguments, "seed": seed, **training, **draws})
        )
    return cells


def _gaussian(work: Path, *, seed: int, batches: list[int], draws: int) -> Metrics:
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
) -> Metrics:
    """Train, take the D most invariant directions of h, whitened, and draw batches from all images and views."""
    images = load_sampled(data, data_root)
    recipe = with_numbers(images.recipe, numbers | {"seed": seed})
    machine = Machine(quiet=True, accelerator="cpu", devices="1")
    run = pretrain(images.source, recipe=recipe, out=work / "run", machine=machine)
    if not run.finished:
        raise KeyboardInterrupt  # a signal stopped the training after a checkpoint: the cell is not finished either
    own, _ = images.two_halves(2 * most_images, seed)
    h = images.features(run.backbone.eval(), own[:most_images], num_views=NUM_VIEWS, seed=seed)
    complete = population_covariances(h)
    spectrum = intraclass_correlations(complete.between, complete.total)
    z = (h - complete.mean) @ spectrum.directions[:WIDTH].T
    generator = torch.Generator().manual_seed(seed)

    def draw(num: int) -> Pair:
        rows = torch.randint(len(z), (num,), generator=generator)
        views = torch.randint(NUM_VIEWS, (2, num), generator=generator)
        return z[rows, views[0]], z[rows, views[1]]

    second = z.square().mean(dim=1)  # of each image, over its views, which are independent of each other
    kurtosis = float(z.pow(4).mean())
    found = _against_formulas(draw, complete_cross_correlation(z), second.T @ second / len(z), batches, draws)
    return found | {"kurtosis": kurtosis, "num_images": len(z)}


def _against_formulas(
    draw: Callable[[int], Pair], complete: Tensor, squares: Tensor, batches: list[int], draws: int
) -> Metrics:
    """Draw batches of every size: `draw` makes two views with mean 0 and T = I; `complete` is C, about diagonal.

    `squares` holds E (z_i^A z_j^B)^2.
    """
    rho = complete.diagonal()
    loss = float(matrix_loss(complete, WEIGHT))
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
            | _excess(rho, num)
            | {"raw_expected": loss + raw_noise / num}
        )
    return {"rho": rho.tolist(), "complete": loss, "rows": rows}


def _excess(rho: Tensor, num: int) -> Metrics:
    """The three terms that a batch adds to the Pearson loss, to first order in 1/N."""
    width = len(rho)
    return {
        "excess_off_diagonal": WEIGHT * width * (width - 1) / (num - 1),
        "excess_diagonal": float((1 - rho.square()).square().sum()) / num,
        "excess_shrunk": float((rho * (1 - rho) * (1 - rho.square())).sum()) / num,
    }


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


def _floors(work: Path, *, cases: list[list[int | float]]) -> Metrics:
    rows = []
    for case in cases:
        num, width, weight = int(case[0]), int(case[1]), case[2]
        found = min(_least_loss(num, width, weight, seed) for seed in range(STARTS))
        floor = batch_floor(num, width, weight)
        rows.append({"batch": num, "width": width, "weight": weight, "floor": floor, "found": found})
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


def _conclude(cells: Sequence[Finished]) -> Conclusion:
    sampled = [cell for cell in cells if cell.name != "floors"]
    floors = next(cell for cell in cells if cell.name == "floors")
    return Conclusion(
        [
            _excess_of_pearson(sampled, "gaussian"),
            _excess_of_pearson(sampled, "trained"),
            _mean_of_raw(sampled, "raw", "raw_expected"),
            _mean_of_raw(sampled, "raw_removed", "complete"),
            _pearson_removed(sampled),
            _asymmetry_falls(sampled),
            _asymmetry_by_pair(sampled),
            _floor_is_reached(floors),
            _above_floor(sampled),
        ],
        [
            _loss_table(sampled),
            _asymmetry_table(sampled),
            _loss_plot(sampled),
            _asymmetry_plot(sampled),
            _floor_table(floors),
        ],
    )


STUDY = Study(
    "What the batch size does",
    "The paper argues with the complete cross-correlation, over all images and all pairs of augmentations (equations "
    "4 to 7), and trains on batches. A batch has a matrix of its own: noisy, not symmetric, of rank N - 1 at most.",
    _cells,
    _conclude,
)


TOLERANCE = 0.1
"""Relative error that formulas to first order in 1/N may have at N >= 32: the next order is about 1/N of them, with
factors of a few."""
SMALLEST = 32
"""Batch size from which formulas to first order are held to that."""
ERRORS = 3.5
"""Standard errors up to which a mean agrees: of some 50 comparisons one is off by more in 40 studies."""
SLOPE = 0.05
"""Error of the exponent of the asymmetry, whose prediction is -1/2."""
NEAR = 1e-5
"""Relative distance of the optimised loss from the floor."""

Row = Mapping[str, Any]
"""What was measured at one batch size, with "complete", the loss that batches approach."""


def _kind(cell: Finished) -> str:
    return cell.name.split("-")[0]


def _first_seeds(cells: Sequence[Finished]) -> dict[str, Finished]:
    """The first cell of each kind of features that was measured, gaussian and trained."""
    found: dict[str, Finished] = {}
    for cell in cells:
        found.setdefault(_kind(cell), cell)
    return found


def _rows(cells: Sequence[Finished], kind: str = "", *, least: int = 0) -> list[tuple[Finished, Row]]:
    return [
        (cell, row | {"complete": cell.metrics["complete"]})
        for cell in cells
        for row in cell.metrics["rows"]
        if row["batch"] >= least and (not kind or _kind(cell) == kind)
    ]


def _predicted_excess(row: Row) -> float:
    return float(row["excess_off_diagonal"] + row["excess_diagonal"] + row["excess_shrunk"])


def _excess_of_pearson(cells: Sequence[Finished], kind: str) -> Finding:
    where = "Gaussian features" if kind == "gaussian" else "a trained backbone, whose features are not Gaussian"
    statement = (
        f"The mean loss of batches is the complete loss plus lambda D(D-1)/(N-1) + sum (1-rho^2)^2/N + "
        f"sum rho(1-rho)(1-rho^2)/N, on {where}, to {100 * TOLERANCE:g}% of the excess for N >= {SMALLEST}."
    )
    found = _rows(cells, kind, least=SMALLEST)
    if not found:
        return Finding("C16", statement, "undecided", "it was not measured.")
    misses, unsure = 0, 0
    for _, row in found:
        predicted, (mean, error) = _predicted_excess(row), row["loss"]
        beyond = abs(mean - row["complete"] - predicted) - TOLERANCE * predicted
        unsure += 0 < beyond <= ERRORS * error  # beyond the tolerance, but noise can do that
        misses += beyond > ERRORS * error
    outcome: Outcome = "failed" if misses else "undecided" if unsure > len(found) / 2 else "held"
    first = [row for cell, row in found if cell is found[0][0]]
    complete = first[0]["complete"]
    sizes = "/".join(str(row["batch"]) for row in first)
    means = "/".join(f"{row['loss'][0]:.3f}" for row in first)
    expected = "/".join(f"{complete + _predicted_excess(row):.3f}" for row in first)
    return Finding(
        "C16",
        statement,
        outcome,
        f"at N = {sizes} the mean loss is {means}, predicted {expected}, complete {complete:.3f}: at "
        f"N = {first[0]['batch']} {100 * (1 - complete / first[0]['loss'][0]):.0f}% of the loss is the "
        f"batch's own noise. {misses} of {len(found)} cases miss.",
    )


def _mean_of_raw(cells: Sequence[Finished], metric: str, expected: str) -> Finding:
    """The mean of a loss that is known exactly, for any features: all cases agree within standard errors."""
    statements = {
        "raw": "Without normalisation the mean loss of batches is the complete loss plus "
        "(1/N) sum w_ij Var(z_i^A z_j^B), exactly, for any features.",
        "raw_removed": 'With bias="removed" the mean of the loss without normalisation is the complete loss '
        "at every N.",
    }
    found = [(abs(row[metric][0] - row[expected]) / row[metric][1], cell, row) for cell, row in _rows(cells)]
    distance, cell, row = max(found, key=lambda one: one[0])
    return Finding(
        "Raw loss",
        statements[metric],
        held_if(distance < ERRORS),
        f"all {len(found)} means agree to {distance:.1f} standard errors; the worst is {cell.name} at "
        f"N = {row['batch']}: {row[metric][0]:.3f} ± {row[metric][1]:.3f}, {expected.removeprefix('raw_')} "
        f"{row[expected]:.3f}.",
    )


def _pearson_removed(cells: Sequence[Finished]) -> Finding:
    found = [row for _, row in _rows(cells, least=SMALLEST)]
    misses, shares = 0, []
    for row in found:
        (mean, error), complete = row["loss_removed"], row["complete"]
        miss = abs(mean - complete - row["excess_diagonal"] - row["excess_shrunk"])
        misses += miss > TOLERANCE * _predicted_excess(row) + ERRORS * error
        if row["batch"] == SMALLEST:
            shares.append((mean - complete) / (row["loss"][0] - complete))
    deviation = max(row["loss_removed"][1] / row["loss"][1] for row in found)
    left = f"{100 * min(shares):.0f}% to {100 * max(shares):.0f}% of the excess" if shares else "part of it"
    return Finding(
        "Unbiased loss",
        'With bias="removed" the Pearson loss loses what its off-diagonal term has from the batch and keeps what the '
        f"diagonal has, at no cost in variance (both to {100 * TOLERANCE:g}% of the excess, N >= {SMALLEST}).",
        held_if(not misses and deviation < 1 + TOLERANCE),
        f"at N = {SMALLEST} {left} is left; {misses} of {len(found)} cases miss; the standard deviation is at most "
        f"{deviation:.2f} times that of the loss as it is.",
    )


def _asymmetry_falls(cells: Sequence[Finished]) -> Finding:
    """The slope of log |C - C^T| (root mean square) over log (N - 1)."""
    exponents = {}
    for cell in cells:
        rows = cell.metrics["rows"]
        x = [math.log(row["batch"] - 1) for row in rows]
        exponents[cell.name] = linear_regression(x, [0.5 * math.log(row["asymmetry"][0]) for row in rows]).slope
    return Finding(
        "P8",
        f"The asymmetry |C - C^T| falls as 1/sqrt(N-1) (exponent -0.5 to {SLOPE}).",
        held_if(all(abs(exponent + 0.5) < SLOPE for exponent in exponents.values())),
        f"the exponents are {', '.join(f'{name} {exponent:.3f}' for name, exponent in exponents.items())}.",
    )


def _asymmetry_by_pair(cells: Sequence[Finished]) -> Finding:
    ratios = [row["skew"] / row["expected_skew"] for _, row in _rows(cells, least=SMALLEST)]
    slopes = {
        kind: [row["skew_slope"] for _, row in _rows(cells, kind, least=SMALLEST)] for kind in _first_seeds(cells)
    }
    said = "; ".join(f"{kind} {min(slope):.2f} to {max(slope):.2f}" for kind, slope in slopes.items())
    return Finding(
        "P8",
        f"It falls with invariance: E (C_ij - C_ji)^2 = 2 (1 - rho_i rho_j)/(N-1) (to {100 * TOLERANCE:g}%, "
        f"N >= {SMALLEST}).",
        held_if(all(abs(ratio - 1) < TOLERANCE for ratio in ratios)),
        f"the mean over pairs is {min(ratios):.3f} to {max(ratios):.3f} of the formula; from pair to pair it changes "
        f"by this many times what the formula says: {said}.",
    )


def _floor_is_reached(cell: Finished) -> Finding:
    rows = cell.metrics["rows"]
    gap = [row["found"] / row["floor"] - 1 for row in rows]
    said = "; ".join(
        f"N = {row['batch']}, D = {row['width']}, lambda {row['weight']:g}: {row['found']:.6f}, floor "
        f"{row['floor']:.6f}"
        for row in rows
    )
    return Finding(
        "Theorem 1",
        "No embeddings of N < D + 1 samples have a loss below D lambda (D-N+1)/((N-1) + lambda (D-N+1)), and some "
        "reach it.",
        "failed" if min(gap) < -NEAR else "held" if max(gap) < NEAR else "undecided",
        f"free embeddings, optimised: {said}.",
    )


def _above_floor(cells: Sequence[Finished]) -> Finding:
    found = [(cell, row) for cell, row in _rows(cells) if row["floor"] > 0]
    statement = "The loss of every batch is above its floor."
    if not found:
        return Finding("Theorem 1", statement, "undecided", "no batch was smaller than D + 1.")
    cell, row = min(found, key=lambda one: one[1]["least_loss"] / one[1]["floor"])
    return Finding(
        "Theorem 1",
        statement,
        held_if(row["least_loss"] >= row["floor"]),
        f"the nearest is {cell.name} at N = {row['batch']}: least {row['least_loss']:.3f}, floor {row['floor']:.3f}.",
    )


def _loss_table(cells: Sequence[Finished]) -> Table:
    def with_error(row: Row, metric: str) -> str:
        mean, error = row[metric]
        return f"{mean:.3f} ± {error:.3f}"

    return Table(
        "The loss of batches",
        "Mean loss of batches with its standard error, and what the formulas say.",
        ["", "N", "complete", "Pearson", "C16", "with shrinkage", "removed", "raw", "exact", "raw, removed"],
        [
            [
                cell.name,
                row["batch"],
                row["complete"],
                with_error(row, "loss"),
                f"{row['complete'] + _predicted_excess(row) - row['excess_shrunk']:.3f}",
                f"{row['complete'] + _predicted_excess(row):.3f}",
                with_error(row, "loss_removed"),
                with_error(row, "raw"),
                f"{row['raw_expected']:.3f}",
                with_error(row, "raw_removed"),
            ]
            for cell, row in _rows(cells)
        ],
    )


def _asymmetry_table(cells: Sequence[Finished]) -> Table:
    return Table(
        "Noise and asymmetry of C",
        "Means over all i != j. The column pairs: how the asymmetry of single pairs follows 1 - rho_i rho_j, 1 if as "
        "the formula says.",
        ["", "N", "N E C_ij^2", "formula", "N E (C_ij - C_ji)^2", "formula", "pairs", "floor", "least loss"],
        [
            [
                cell.name,
                row["batch"],
                row["batch"] * row["off_diagonal"],
                row["batch"] / (row["batch"] - 1),
                row["batch"] * row["skew"],
                row["batch"] * row["expected_skew"],
                row["skew_slope"],
                row["floor"],
                row["least_loss"],
            ]
            for cell, row in _rows(cells)
        ],
    )


def _loss_plot(cells: Sequence[Finished]) -> Plot:
    reading = "Mean Pearson loss of batches, first seed; dashed: the complete loss plus the three terms."
    curves = _beside_formula(
        cells, lambda row: float(row["loss"][0]), lambda row: float(row["complete"]) + _predicted_excess(row)
    )
    return Plot("Loss against batch size", reading, "batch size N", curves, log_x=True, y_name="Mean loss of batches")


def _asymmetry_plot(cells: Sequence[Finished]) -> Plot:
    reading = "Root mean square of C_ij - C_ji, first seed; dashed: sqrt of the mean 2 (1 - rho_i rho_j)/(N-1)."
    curves = _beside_formula(cells, lambda row: math.sqrt(row["skew"]), lambda row: math.sqrt(row["expected_skew"]))
    return Plot(
        "Asymmetry against batch size",
        reading,
        "batch size N",
        curves,
        log_x=True,
        log_y=True,
        y_name="C_ij - C_ji",
    )


def _beside_formula(
    cells: Sequence[Finished], measured: Callable[[Row], float], formula: Callable[[Row], float]
) -> list[Curve]:
    """Two curves for each kind of features: measured, and dashed what the formula says."""
    curves = []
    for color, (kind, cell) in zip(("c1", "c2"), _first_seeds(cells).items(), strict=False):
        rows = [row for _, row in _rows([cell])]
        sizes = [row["batch"] for row in rows]
        curves.append(Curve(kind, sizes, [measured(row) for row in rows], color))
        curves.append(Curve(f"{kind}, formula", sizes, [formula(row) for row in rows], color, dashed=True))
    return curves


def _floor_table(cell: Finished) -> Table:
    return Table(
        "Floors",
        "Least Pearson loss of free embeddings found by L-BFGS from several starts, beside the formula.",
        ["", "D", "lambda", "floor", "found"],
        [
            [f"N = {row['batch']}", row["width"], row["weight"], f"{row['floor']:.8f}", f"{row['found']:.8f}"]
            for row in cell.metrics["rows"]
        ],
    )
