"""What one transform alone does to features: marginal, total and first-order effect, and along which directions.

h(x, t_1, ..., t_m) is a feature vector of image x under independent transforms t_j. Two draws of all transforms, t and
t', are mixed ("pick-freeze"): t with its j-th entry replaced by that of t'. As shares of a variance,

    marginal      E |h(t_j x) - h(x)|^2 / (2 tr B)                   t_j alone, all other transforms left out
    total         1/2 E |h(x, t) - h(x, t with t'_j)|^2 / tr T       t_j and its interactions, others as drawn
    first order   (tr W - 1/2 E |h(x, t') - h(x, t with t'_j)|^2) / tr T     t_j without interactions with others

For each image the last two are the total and the first-order index of Sobol, in units of tr T instead of tr W:
sum_j first_j <= tr W / tr T <= sum_j total_j, with equality on both sides if h is a sum over transforms.

Source: Jansen, "Analysis of variance designs for model output" (Comput. Phys. Commun. 1999), both estimators;
Saltelli et al., "Variance based sensitivity analysis of model output" (Comput. Phys. Commun. 2010), table 2.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from barlow.theory.moments import NUM_BLOCKS
from barlow.theory.standard_errors import Jackknifed, block_of_each, image_mean

Variance = Jackknifed | float
"""A variance to divide by: with replicates from the same images its error counts, a number is taken as known."""


def marginal_effect(
    h_plain: Float[Tensor, "n d"],
    h_transformed: Float[Tensor, "n d"],
    between_trace: Variance,
    num_blocks: int = NUM_BLOCKS,
) -> Jackknifed:
    """Return E |h(tx) - h(x)|^2 / (2 tr B): what a transform alone moves, against the difference of two images.

    Two images differ by E |ybar(x) - ybar(x')|^2 = 2 tr B, so at 1 the transform moves an image as far as to another.

    Args:
        h_plain: (n, d) features of n >= 2 images, untransformed.
        h_transformed: (n, d) features of the same images under one transform and nothing else.
        between_trace: tr B, as `variance_components(...).between_trace` gives it.
        num_blocks: G of the jackknife.

    Returns:
        The effect: 0: h ignores the transform; unbounded above; NaN: tr B is not above 0.

    Raises:
        ValueError: shapes that differ, fewer than 2 images or blocks, or values that are not finite.
    """
    return half_distance_share(squared_distances(h_plain, h_transformed), between_trace, num_blocks)


def total_effect(
    h: Float[Tensor, "n d"],
    h_replaced: Float[Tensor, "n d"],
    total_trace: Variance,
    num_blocks: int = NUM_BLOCKS,
) -> Jackknifed:
    """Return 1/2 E |h(., t, .) - h(., t', .)|^2 / tr T: the share of the variance that needs this transform.

    It is what would go if the transform stood still, whatever the others do: its own part and all its interactions.

    Args:
        h: (n, d) features of one view of each of n >= 2 images.
        h_replaced: (n, d) features of the same views with one transform drawn anew.
        total_trace: tr T, as `variance_components(...).total_trace` gives it.
        num_blocks: G of the jackknife.

    Returns:
        The share, 0 to 1 but for sampling; NaN: tr T is not above 0.

    Raises:
        ValueError: shapes that differ, fewer than 2 images or blocks, or values that are not finite.

    Source:
        Jansen 1999; Saltelli et al. 2010, table 2.
    """
    return half_distance_share(squared_distances(h, h_replaced), total_trace, num_blocks)


def first_order_effect(
    h_other: Float[Tensor, "n d"],
    h_replaced: Float[Tensor, "n d"],
    within_trace: Variance,
    total_trace: Variance,
    num_blocks: int = NUM_BLOCKS,
) -> Jackknifed:
    """Return (tr W - 1/2 E |h(t') - h(t with t'_j)|^2) / tr T: the share that this transform makes by itself.

    The two views share the image and the transform j, nothing else, so what separates them is what transform j does
    not explain. It costs no more views than `total_effect`.

    Args:
        h_other: (n, d) features under t', the draw that the replacement came from.
        h_replaced: (n, d) features under t with its j-th entry from t'.
        within_trace: tr W.
        total_trace: tr T.
        num_blocks: G of the jackknife.

    Returns:
        The share; a small one may come out below 0 by sampling; NaN: tr T is not above 0.

    Raises:
        ValueError: shapes that differ, fewer than 2 images or blocks, or values that are not finite.

    Source:
        Jansen 1999; Saltelli et al. 2010, table 2.
    """
    unexplained = half_distance_share(squared_distances(h_other, h_replaced), total_trace, num_blocks)
    return _ratio(within_trace, total_trace, unexplained) - unexplained


def direction_effects(
    h: Float[Tensor, "n d"],
    h_replaced: Float[Tensor, "n d"],
    directions: Float[Tensor, "m d"],
    total_variances: Jackknifed | Float[Tensor, " m"],
    num_blocks: int = NUM_BLOCKS,
) -> Jackknifed:
    """Return u^T W_t u / u^T T u for each direction u: what share of its variance one transform destroys.

    The features are projected first, so W_t (d x d, `effect_covariance`) is never built. Directions that were chosen
    for a large u^T B u on the same images show too little of every transform; take them from other images.

    Args:
        h: (n, d) features of one view of each of n >= 2 images.
        h_replaced: (n, d) features of the same views with one transform drawn anew.
        directions: (m, d) one direction u per row, of any length: those of an `IntraclassSpectrum`, say.
        total_variances: (m,) u^T T u, as `variance_components(h_views @ directions.T).total` gives it.
        num_blocks: G of the jackknife.

    Returns:
        (m,) shares.

    Raises:
        ValueError: shapes that differ, fewer than 2 images or blocks, or values that are not finite.
    """
    _check(h, h_replaced)
    along = (h.double() - h_replaced.double()) @ directions.double().T
    return half_distance_share(along.square(), total_variances, num_blocks)


def effect_covariance(
    h: Float[Tensor, "n d"], h_replaced: Float[Tensor, "n d"], num_blocks: int = NUM_BLOCKS
) -> tuple[Float64[Tensor, "d d"], Float64[Tensor, "d d"]]:
    """Return W_t = 1/2 E (dh)(dh)^T, dh = h(., t, .) - h(., t', .), and the standard error of each entry.

    Its trace is the numerator of `total_effect`, whose arguments it takes; generalised eigenvectors W_t u = s T u are
    the directions that the transform moves most.
    """
    _check(h, h_replaced)
    block = block_of_each(len(h), num_blocks)
    change = h.double() - h_replaced.double()
    num_images, total = len(h), 0.5 * change.T @ change
    first = torch.zeros_like(total)
    second = torch.zeros_like(total)
    blocks = int(block.max()) + 1
    for g in range(blocks):  # one replicate at a time: all of them would be G matrices of d x d
        rows = change[block == g]
        replicate = (total - 0.5 * rows.T @ rows) / (num_images - len(rows))
        deviation = replicate - total / num_images  # around the whole, so that no digits cancel below
        first += deviation
        second += deviation.square()
    variance = (second / blocks - (first / blocks).square()).clamp(min=0)
    return total / num_images, ((blocks - 1) * variance).sqrt()


def half_distance_share(
    squares: Float[Tensor, "n *m"], variance: Jackknifed | Tensor | float, num_blocks: int = NUM_BLOCKS
) -> Jackknifed:
    """Return 1/2 mean_i s_i / variance, where s_i = |h_i - h'_i|^2: the form that all effects have.

    For those who keep one number per image, or one for each of m directions, instead of features. NaN where the
    variance is not above 0.
    """
    return image_mean(0.5 * squares, num_blocks) / _positive(variance)


def squared_distances(h: Float[Tensor, "n d"], other: Float[Tensor, "n d"]) -> Float64[Tensor, " n"]:
    """Return |h_i - h'_i|^2 per image, in float64."""
    _check(h, other)
    return (h.double() - other.double()).square().sum(dim=1)


def _check(h: Tensor, other: Tensor) -> None:
    if h.shape != other.shape:
        raise ValueError(f"h: got features of shapes {tuple(h.shape)} and {tuple(other.shape)}, wanted the same twice")
    if not (h.isfinite().all() and other.isfinite().all()):
        raise ValueError("h: has values that are not finite")


def _positive(variance: Jackknifed | Tensor | float) -> Jackknifed | Tensor:
    """NaN in place of variances that are not above 0."""
    if isinstance(variance, Jackknifed):
        return variance.map(lambda part: torch.where(part > 0, part, torch.nan))
    known = torch.as_tensor(variance, dtype=torch.float64)
    return torch.where(known > 0, known, torch.nan)


def _ratio(part: Variance, whole: Variance, like: Jackknifed) -> Jackknifed:
    """Divide part by whole, with as many replicates as `like` has, where both may be plain numbers."""
    if isinstance(part, Jackknifed):
        return part / _positive(whole)
    number = torch.tensor(part, dtype=torch.float64)
    return Jackknifed(number, number.expand_as(like.left_out)) / _positive(whole)
