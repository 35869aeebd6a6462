"""Study: any backbone and a linear projector make C the identity (equations 4 to 6). Expressible, and reached?

For three untrained networks, S = E ybar ybar^T over n images and all K^2 pairs of their K views:

    symmetric, PSD      the sum over pairs against the factored form                    C5
    C = I               P = diag(l)^-1/2 U^T for D <= rank S; `raw_floor` above         C6
    rank S, cond S      whether random features span their space                        C7
    Adam on P           on the complete loss itself, where only the condition of S is in the way;
                        on batches, as training has it; and, as a control, on whitened
                        features, S = I                                                 C7

A statement about every backbone fails with one counterexample.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from barlow.report.study_page import Conclusion, Curve, Finding, Plot, Table
from barlow.statistics.correlation import matrix_loss
from barlow.studies.cells import Cell, Finished, Metrics
from barlow.studies.images import Network, load_sampled
from barlow.studies.outcomes import held_if
from barlow.studies.study import Settings, Study
from barlow.theory.cross_correlation import complete_cross_correlation, two_pipeline_cross_correlation
from barlow.theory.floors import raw_floor
from barlow.theory.projectors import raw_projector
from barlow.theory.spectrum import condition_number, numerical_rank
from barlow.theory.symmetry import skew_share

WEIGHT = 0.02
"""lambda, that of the small recipes."""
RATES = (0.01, 0.03, 0.1, 0.3)
"""Steps of Adam in units of the root mean square of the first P, so that the scale of features does not matter."""
BATCH = 256
"""Pairs of views in a step on batches."""


def _cells(settings: Settings) -> list[Cell]:
    quick = settings.form == "quick"
    sizes = {
        "most_images": 600 if quick else 5000,
        "num_views": 8,
        "widths": [16, 32, 64, 256],
        "descended": [32, 64],
        "steps": [10, 30, 100, 300, 1000, *([] if quick else [3000])],
    }
    return [
        Cell(f"{network}-seed{seed}", _measure, {**settings.data_arguments, "network": network, "seed": seed, **sizes})
        for seed in range(settings.seeds)
        for network in get_args(Network)
    ]


def _measure(
    work: Path,
    *,
    data: str,
    data_root: str,
    network: Network,
    seed: int,
    most_images: int,
    num_views: int,
    widths: list[int],
    descended: list[int],
    steps: list[int],
) -> Metrics:
    images = load_sampled(data, data_root)
    untrained = images.untrained_network(network, seed)
    own, others = images.two_halves(most_images, seed)
    h = images.features(untrained, own, num_views=num_views, seed=seed)
    unseen = images.features(untrained, others, num_views=num_views, seed=seed + 1)
    plain = images.features(untrained, own, num_views=0, seed=seed)
    s, s_unseen = complete_cross_correlation(h), complete_cross_correlation(unseen)
    values = torch.linalg.eigvalsh(s).flip(0).clamp(min=0)
    return {
        "num_images": len(h),
        "num_features": h.shape[2],
        "rank": numerical_rank(values),
        "condition": condition_number(values),
        "symmetry": _symmetry(h, s) | {"skew_with_plain_view": skew_share(two_pipeline_cross_correlation(h, plain))},
        "closed_form": [_closed_form(h, s, s_unseen, width) for width in widths],
        "descents": [one for width in descended for one in _descents(h, s, s_unseen, width, steps, seed)],
    }


def _symmetry(h: Tensor, s: Tensor) -> Metrics:
    """The mean over all n K^2 ordered pairs, summed pair by pair, beside the mean of ybar ybar^T."""
    num_images, num_views, _ = h.shape
    pairs = sum((h[:, a].T @ h[:, b] for a in range(num_views) for b in range(num_views)), torch.zeros_like(s))
    pairs = pairs / (num_images * num_views**2)
    size = float(pairs.norm())
    return {
        "asymmetry": float((pairs - pairs.T).norm()) / size,
        "least_eigenvalue": float(torch.linalg.eigvalsh((pairs + pairs.T) / 2)[0]) / size,
        "difference_of_forms": float((pairs - s).norm()) / size,
    }


def _closed_form(h: Tensor, s: Tensor, s_unseen: Tensor, width: int) -> Metrics:
    """The loss of the closed-form projector, measured on embeddings: nothing of S goes in but the weights."""
    projector = raw_projector(s, width, WEIGHT)
    return {
        "width": width,
        "loss": float(matrix_loss(complete_cross_correlation(h, projector.weight), WEIGHT)),
        "floor": raw_floor(width, projector.rank, WEIGHT),
        "unseen": float(matrix_loss(projector.weight @ s_unseen @ projector.weight.T, WEIGHT)),
    }


def _descents(h: Tensor, s: Tensor, s_unseen: Tensor, width: int, steps: list[int], seed: int) -> list[Metrics]:
    """The three ways to descend: on the complete loss, on batches, on the complete loss of whitened features."""
    generator = torch.Generator().manual_seed(seed)
    num_images, num_views, _ = h.shape

    def complete(weight: Tensor) -> Tensor:
        return weight @ s @ weight.T

    def batch(weight: Tensor) -> Tensor:
        images = torch.randint(num_images, (BATCH,), generator=generator)
        a, b = torch.randint(num_views, (2, BATCH), generator=generator)
        return (h[images, a] @ weight.T).T @ (h[images, b] @ weight.T) / BATCH

    rank = numerical_rank(torch.linalg.eigvalsh(s).clamp(min=0))
    white = torch.eye(rank, dtype=s.dtype)
    found = []
    for kind, c_of, matrix in (
        ("complete", complete, s),
        ("batches", batch, s),
        ("whitened", lambda weight: weight @ weight.T, white),
    ):
        one = _descend(c_of, matrix, width, steps, seed)
        final = one.pop("final")
        unseen = None if kind == "whitened" else float(matrix_loss(final @ s_unseen @ final.T, WEIGHT))
        found.append({"kind": kind, "width": width, "floor": raw_floor(width, rank, WEIGHT), "unseen": unseen} | one)
    return found


def _descend(c_of: Callable[[Tensor], Tensor], s: Tensor, width: int, steps: list[int], seed: int) -> Metrics:
    """Adam on P from a random start whose outputs have mean square 1, for every rate: complete loss after k steps."""
    start = torch.randn(width, len(s), dtype=s.dtype, generator=torch.Generator().manual_seed(seed))
    start *= (width / float(torch.einsum("ij,jk,ik->", start, s, start))) ** 0.5
    losses, finals = {}, {}
    for rate in RATES:
        weight = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([weight], lr=rate * float(start.square().mean().sqrt()))
        curve = []
        for step in range(max(steps) + 1):
            if step in steps:
                now = weight.detach()
                curve.append(float(matrix_loss(now @ s @ now.T, WEIGHT)))
            optimizer.zero_grad()
            matrix_loss(c_of(weight), WEIGHT).backward()
            optimizer.step()
        losses[rate], finals[rate] = curve, now
    best = min(RATES, key=lambda rate: losses[rate][-1])
    return {
        "steps": steps,
        "losses": {str(rate): curve for rate, curve in losses.items()},
        "best": [min(curve[place] for curve in losses.values()) for place in range(len(steps))],
        "rate": best,
        "final": finals[best],
    }


def _conclude(cells: Sequence[Finished]) -> Conclusion:
    return Conclusion(
        [
            _symmetric(cells),
            _identity(cells),
            _too_wide(cells),
            _unseen(cells),
            _span(cells),
            _reached(cells, "complete"),
            _reached(cells, "batches"),
        ],
        [_networks(cells), _closed_forms(cells), _reached_table(cells), _curves(cells)],
    )


STUDY = Study(
    "A linear projector on an untrained backbone",
    "The paper says: the cross-correlation of distorted images is symmetric whatever the network's weights, so a "
    "linear layer can always diagonalise it and scale it to the identity, even on a random backbone (section 2, "
    "equations 4 to 6). Hence the loss without normalisation asks nothing of the backbone.",
    _cells,
    _conclude,
)


EXACT = 1e-12
"""Largest loss, asymmetry or difference that still counts as rounding: float64 keeps 1e-16 of sums of 10^4 terms, and
a condition of 10^6 loses 6 digits of C, which the loss squares."""
CLOSE = 0.01
"""As good as the identity: a loss below this share of D, the loss of z = 0. A mean |1 - C_ii| of 0.1 would give it."""


def _symmetric(cells: Sequence[Finished]) -> Finding:
    found = [cell.metrics["symmetry"] for cell in cells]
    asymmetry = max(one["asymmetry"] for one in found)
    least = min(one["least_eigenvalue"] for one in found)
    difference = max(one["difference_of_forms"] for one in found)
    skew = [one["skew_with_plain_view"] for one in found]
    return Finding(
        "C5",
        "The complete C of i.i.d. views is symmetric and positive semi-definite, whatever the network.",
        held_if(max(asymmetry, -least, difference) < EXACT),
        f"summed over all pairs it is asymmetric by {asymmetry:.1e}, its least eigenvalue is {least:.1e} (both of "
        f"|C|), and it differs from the mean of ybar ybar^T by {difference:.1e}. One pipeline for both views is "
        f"needed: with an unaugmented second view {100 * min(skew):.2g}% to {100 * max(skew):.2g}% of |C| is skew.",
    )


def _identity(cells: Sequence[Finished]) -> Finding:
    statement = "With D at most the rank of C, a linear projector makes C the identity, whatever the backbone."
    found = _closed(cells, within_rank=True)
    if not found:
        return Finding("C6", statement, "undecided", "no width was within the rank.")
    worst = max(one["loss"] for one in found)
    return Finding(
        "C6",
        statement,
        held_if(worst < EXACT),
        f"the largest of {len(found)} losses is {worst:.1e} (D up to {max(one['width'] for one in found)}), for "
        "untrained networks and raw pixels.",
    )


def _too_wide(cells: Sequence[Finished]) -> Finding:
    statement = "A linear projector always makes C the identity: the text has no condition on D."
    found = _closed(cells, within_rank=False)
    if not found:
        return Finding("C6", statement, "undecided", "no width was above the rank.")
    gap = max(abs(one["loss"] / one["floor"] - 1) for one in found)
    first = found[0]
    return Finding(
        "C6",
        statement,
        held_if(all(one["loss"] < EXACT for one in found)),
        f"above the rank it does not: at D = {first['width']} the closed form reaches {first['loss']:.4g}, and no "
        f"linear projector goes below {first['floor']:.4g} (Theorem 1). The two agree to "
        f"{gap:.0e} in the worst of {len(found)} cases.",
    )


def _unseen(cells: Sequence[Finished]) -> Finding:
    statement = f"C is then as good as the identity (loss below {100 * CLOSE:g}% of D) on other images too."
    found = _closed(cells, within_rank=True)
    if not found:
        return Finding("C6", statement, "undecided", "no width was within the rank.")
    shares = [one["unseen"] / one["width"] for one in found]
    return Finding(
        "C6",
        statement,
        held_if(max(shares) < CLOSE),
        f"it is so in {sum(share < CLOSE for share in shares)} of {len(shares)} cases; on as many other images the "
        f"loss is {100 * min(shares):.2g}% to {100 * max(shares):.2g}% of D.",
    )


def _span(cells: Sequence[Finished]) -> Finding:
    random = [cell for cell in cells if cell.arguments["network"] != "pixels"]
    said = "; ".join(
        f"{cell.name}: {cell.metrics['rank']} of {cell.metrics['num_features']}, condition "
        f"{cell.metrics['condition']:.0f}"
        for cell in random
    )
    return Finding(
        "C7",
        "The features of a random backbone span their whole space.",
        held_if(all(cell.metrics["rank"] == cell.metrics["num_features"] for cell in random)),
        f"rank {said}. Spanned, but unevenly.",
    )


def _reached(cells: Sequence[Finished], kind: str) -> Finding:
    descents = [one for cell in cells for one in cell.metrics["descents"]]
    found = [one for one in descents if one["kind"] == kind]
    control = [_above(one) for one in descents if one["kind"] == "whitened"]
    above = [_above(one) for one in found]
    early = [_above(one, len(one["steps"]) // 2) for one in found]
    steps = found[0]["steps"]
    return Finding(
        "C7",
        f"Gradient descent on the {'complete loss' if kind == 'complete' else 'loss of batches'} finds what a linear "
        f"projector can express (to {100 * CLOSE:g}% of D, Adam, {steps[-1]} steps, the best of "
        f"{len(found[0]['losses'])} rates).",
        held_if(max(above) < CLOSE),
        f"it does in {sum(share < CLOSE for share in above)} of {len(above)} cases: the loss is then "
        f"{100 * min(above):.2g}% to {100 * max(above):.2g}% of D above its floor, and after "
        f"{steps[len(steps) // 2]} steps {100 * min(early):.2g}% to {100 * max(early):.2g}%. On whitened features, "
        f"condition 1, the same steps come to {100 * max(control):.0e}%.",
    )


def _closed(cells: Sequence[Finished], *, within_rank: bool) -> list[Mapping[str, Any]]:
    found = [one for cell in cells for one in cell.metrics["closed_form"]]
    return [one for one in found if (one["floor"] == 0) == within_rank]


def _above(one: Mapping[str, Any], place: int = -1) -> float:
    """What is left above the floor, in units of D."""
    return float((one["best"][place] - one["floor"]) / one["width"])


def _networks(cells: Sequence[Finished]) -> Table:
    keys = ("num_features", "rank", "condition")
    of_symmetry = ("asymmetry", "least_eigenvalue", "skew_with_plain_view")
    return Table(
        "Untrained networks",
        "Of the complete C of the features, not centred; eigenvalues above 1e-6 of the largest count.",
        ["", "features d", "rank", "condition", "asymmetry", "least eigenvalue", "skew, second view plain"],
        [
            [
                cell.name,
                *(cell.metrics[key] for key in keys),
                *(cell.metrics["symmetry"][key] for key in of_symmetry),
            ]
            for cell in cells
        ],
    )


def _closed_forms(cells: Sequence[Finished]) -> Table:
    return Table(
        "The closed-form projector",
        "Complete raw loss of the closed-form projector, measured on its outputs; z = 0 has loss D.",
        ["", "D", "floor", "loss", "loss on other images"],
        [
            [cell.name, one["width"], one["floor"], one["loss"], one["unseen"]]
            for cell in cells
            for one in cell.metrics["closed_form"]
        ],
    )


def _reached_table(cells: Sequence[Finished]) -> Table:
    titles = {"complete": "complete loss", "batches": "batches of 256", "whitened": "complete loss, whitened"}
    steps = cells[0].metrics["descents"][0]["steps"]
    return Table(
        "What gradient descent reaches",
        "Complete loss after k steps of Adam, the best of all rates at each k; the rate is that of the best end, in "
        "units of the root mean square of the first P.",
        ["", "steps on", "D", "condition", *(f"k = {step}" for step in steps), "rate", "loss on other images"],
        [
            [
                cell.name,
                titles[one["kind"]],
                one["width"],
                1.0 if one["kind"] == "whitened" else cell.metrics["condition"],
                *one["best"],
                one["rate"],
                "" if one["unseen"] is None else one["unseen"],
            ]
            for cell in cells
            for one in cell.metrics["descents"]
        ],
    )


def _curves(cells: Sequence[Finished]) -> Plot:
    colors = {"resnet": "c1", "mlp": "c2", "pixels": "c3"}
    first_seed = [cell for cell in cells if cell.arguments["seed"] == cells[0].arguments["seed"]]
    curves = []
    for cell in first_seed:
        network, descents = cell.arguments["network"], cell.metrics["descents"]
        width = max(one["width"] for one in descents)
        for one in descents:
            if one["width"] == width and one["kind"] != "whitened":
                batches = one["kind"] == "batches"
                name = f"{network}, batches" if batches else network
                curves.append(Curve(name, one["steps"], one["best"], colors[network], dashed=batches))
    reading = "One seed, the largest D. The closed form is at 0, below every curve; dashed: steps on batches."
    return Plot("Loss after k steps", reading, "steps k", curves, log_x=True, log_y=True, y_name="Complete loss")
