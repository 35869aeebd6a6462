"""The complete cross-correlation of Barlow Twins: over all images and all pairs of augmentations (equations 4 to 7).

With z = P f(t x), all n images x and all k augmentations t, each equally likely, C is a mean over n k^2 triples
(x, t_A, t_B). It takes only n k forwards, as the mean over pairs factors (equation 6, with means for sums):

    E_x E_{t_A, t_B} z_A z_B^T = E_x ybar ybar^T = B + m m^T,    ybar(x) = E_t z(t x),    m = E ybar,    B = Cov_x(ybar)

This needs both views of an image to be drawn independently from one pipeline, and a network that treats each sample
alone (BatchNorm in evaluation mode); then C is symmetric and positive semi-definite, whatever that network. Otherwise:

    two pipelines            E ybar_A ybar_B^T          not symmetric in general (`two_pipeline_cross_correlation`)
    pairs t_A != t_B only    B + m m^T - W / (k - 1)    symmetric, may be indefinite (`pairs="distinct"`)

With T = B + W the covariance of one view and T + m m^T its second moment, the normalisations of the loss become

    raw             B + m m^T                       equation 4 as a mean over the k^2 pairs, not a sum
    covariance      B
    scalar          B / (tr T / D)
    feature_cosine  r^-1/2 (B + m m^T) r^-1/2       r = diag(T + m m^T): equations 1 and 7 with means for sums
    pearson         T_d^-1/2 B T_d^-1/2             T_d = diag T
    whiten          L^-1 B L^-T                     T = L L^T
    sample_cosine   raw, of sqrt(D) z / |z|

Equation 7 as printed sums k^2 products in the numerator and k squares in each sigma^2, so that an invariant feature
gets C_ii = k rather than 1, and its sigma, not centred, is a root mean square and no standard deviation. Meant is the
row "pearson", whose diagonal B_ii / T_ii is in [0, 1], and 1 - C_ii = E (z_i^A - z_i^B)^2 / (2 T_ii).
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, get_args

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from barlow.errors import unknown
from barlow.theory.moments import ROWS, Covariances, Moments

Normalization = Literal["pearson", "feature_cosine", "sample_cosine", "scalar", "covariance", "raw", "whiten"]
"""The names of the loss, which theory does not import; a test holds the two together."""

Pairs = Literal["all", "distinct"]
"""all: t_A and t_B independent, equal ones included. distinct: drawn without replacement."""

ROUNDING = 16.0
"""A feature varies if its variance is above (this times the resolution of float64)^2 of its second moment."""

SINGULAR = 1e-12
"""T is singular if one feature keeps less than this of its variance given those before it: rounding of float32
features leaves about 1e-14, rounding of the sums d times 1e-16."""


def complete_cross_correlation(
    h: Float[Tensor, "n k d"],
    projector: Float[Tensor, "p d"] | None = None,
    normalization: Normalization = "raw",
    *,
    pairs: Pairs = "all",
) -> Float64[Tensor, "p p"]:
    """Return the complete C of enumerated views, exactly: the mean over all images and pairs of their views.

    For sampled views, pairs="distinct" is the unbiased estimate of the raw C over all augmentations, and pairs="all"
    is too large by W / K.

    Args:
        h: (n, k, d) features of the k >= 2 views of n images; all augmentations, each once.
        projector: (D, d) linear projector P, z = P h; default: z = h.
        normalization: as in the loss, with the statistics of all images and views.
        pairs: "all" k^2 ordered pairs, as in equation 4, or the k (k - 1) "distinct" ones.

    Returns:
        (D, D) symmetric C; PSD for all pairs. A feature without variance has 0 in its row and column, as in the loss.

    Raises:
        ValueError: wrong shapes, values that are not finite, unknown names, "whiten" with a singular T.

    Source:
        Equations 4 to 7 of the paper, with means for its sums.
    """
    _check_name("normalization", normalization, get_args(Normalization))
    _check_name("pairs", pairs, get_args(Pairs))
    statistics = _moments(h, projector, normalization).population()
    if pairs == "distinct":
        # sum_{a != b} z_a z_b^T = k^2 ybar ybar^T - sum_a z_a z_a^T; one view alone keeps its covariance T.
        within = statistics.within / (h.shape[1] - 1)
        statistics = replace(statistics, between=statistics.between - within, within=statistics.within + within)
    return _of_covariances(statistics, normalization)


def cross_correlation_of(
    covariances: Covariances,
    projector: Float[Tensor, "p d"] | None = None,
    normalization: Normalization = "covariance",
) -> Float64[Tensor, "p p"]:
    """Return the complete C that covariances give: `Moments.population` exactly, `Moments.covariances` an estimate.

    An estimate may be indefinite, with C_ii below 0. "sample_cosine" needs the samples and is refused.
    """
    names = tuple(name for name in get_args(Normalization) if name != "sample_cosine")
    _check_name("normalization", normalization, names)
    return _of_covariances(covariances if projector is None else covariances.projected(projector), normalization)


def two_pipeline_cross_correlation(
    h_a: Float[Tensor, "n k d"],
    h_b: Float[Tensor, "n j d"],
    projector: Float[Tensor, "p d"] | None = None,
    normalization: Normalization = "raw",
) -> Float64[Tensor, "p p"]:
    """Return the complete C of two pipelines, the mean over images and all k j pairs: E ybar_A ybar_B^T.

    The mean, T and its normaliser are each pipeline's own, as in the loss. C is not symmetric in general, and C_ii = 1
    says z_B = a z_A + b (a > 0): such a difference of the pipelines stays unseen. With h_b = h_a it is
    `complete_cross_correlation`.

    Args:
        h_a: (n, k, d) features of the enumerated views of pipeline A, k >= 1.
        h_b: (n, j, d) those of pipeline B of the same images, j >= 1.
        projector: (D, d) linear projector P, z = P h; default: z = h.
        normalization: as in the loss.

    Returns:
        (D, D) C, rows for A and columns for B.

    Raises:
        ValueError: wrong shapes, values that are not finite, an unknown name, "whiten" with a singular T.
    """
    _check_name("normalization", normalization, get_args(Normalization))
    if h_a.ndim != 3 or h_b.ndim != 3 or len(h_a) != len(h_b) or h_a.shape[2] != h_b.shape[2]:
        raise ValueError(
            f"h_b: got shape {tuple(h_b.shape)} beside h_a {tuple(h_a.shape)}, wanted (n, j, d) beside (n, k, d)"
        )
    of_a, of_b = (_one_pipeline(h, projector, normalization) for h in (h_a, h_b))
    means_a, means_b = (_image_means(h, projector, normalization) for h in (h_a, h_b))
    between = (means_a - of_a.mean).T @ (means_b - of_b.mean) / len(h_a)
    return _normalized(between, of_a, of_b, normalization)


def sampled_cross_correlation(
    h_a: Float[Tensor, "n d"],
    h_b: Float[Tensor, "n d"],
    projector: Float[Tensor, "p d"] | None = None,
    normalization: Normalization = "raw",
) -> Float64[Tensor, "p p"]:
    """Return C of one pair of views per image, in float64: what the loss sees in a batch of n, without its eps.

    Over many images, with both views drawn independently from one pipeline, it tends to `complete_cross_correlation`.
    It is not symmetric itself: `symmetry` says by how much, and what that tells.

    Args:
        h_a: (n, d) features of one view of each image.
        h_b: (n, d) features of another view of the same images.
        projector: (D, d) linear projector P, z = P h; default: z = h.
        normalization: as in the loss, per view.

    Returns:
        (D, D) C, not symmetric.

    Raises:
        ValueError: wrong shapes, values that are not finite, an unknown name, "whiten" with a singular T.
    """
    if h_a.ndim != 2 or h_a.shape != h_b.shape:
        raise ValueError(f"h_b: got shape {tuple(h_b.shape)} beside h_a {tuple(h_a.shape)}, wanted (n, d) for both")
    return two_pipeline_cross_correlation(h_a[:, None], h_b[:, None], projector, normalization)


def _embeddings(h: Tensor, projector: Tensor | None, normalization: Normalization) -> Iterator[Tensor]:
    """Embeddings z = P h in float64, some images at a time; for "sample_cosine" on the sphere of radius sqrt(D)."""
    if projector is not None and (projector.ndim != 2 or projector.shape[1] != h.shape[-1]):
        raise ValueError(f"projector: got shape {tuple(projector.shape)}, wanted (D, {h.shape[-1]})")
    for part in h.detach().split(max(1, ROWS // h.shape[1])):
        z = part.to("cpu", torch.float64)
        if projector is not None:
            z = z @ projector.detach().to(z).T
        if normalization == "sample_cosine":
            norm = z.norm(dim=-1, keepdim=True)
            z = torch.where(norm > 0, z / norm, 0.0) * z.shape[-1] ** 0.5
        yield z


def _moments(h: Tensor, projector: Tensor | None, normalization: Normalization) -> Moments:
    moments = Moments(h.shape[-1] if projector is None else len(projector), num_blocks=1)
    for z in _embeddings(h, projector, normalization):
        moments.add(z)
    return moments


def _one_pipeline(h: Tensor, projector: Tensor | None, normalization: Normalization) -> Covariances:
    """Population statistics; one view alone stands for two equal ones."""
    return _moments(h if h.shape[1] > 1 else h.repeat(1, 2, 1), projector, normalization).population()


def _image_means(h: Tensor, projector: Tensor | None, normalization: Normalization) -> Tensor:
    return torch.cat([z.mean(dim=1) for z in _embeddings(h, projector, normalization)])


def _of_covariances(covariances: Covariances, normalization: Normalization) -> Tensor:
    matrix = _normalized(covariances.between, covariances, covariances, normalization)
    return (matrix + matrix.T) / 2


def _normalized(between: Tensor, of_a: Covariances, of_b: Covariances, normalization: Normalization) -> Tensor:
    """The table at the top, with the statistics of each pipeline on its side; "sample_cosine" of z on the sphere."""
    if normalization in ("raw", "feature_cosine", "sample_cosine"):
        between = between + torch.outer(of_a.mean, of_b.mean)
    if normalization in ("raw", "sample_cosine", "covariance"):
        return between
    if normalization == "whiten":
        half = torch.linalg.solve_triangular(_factor(of_a), between, upper=False)
        white: Tensor = torch.linalg.solve_triangular(_factor(of_b), half.T, upper=False).T
        return white
    scale_a, scale_b = _inverse_scale(of_a, normalization), _inverse_scale(of_b, normalization)
    return scale_a[:, None] * between * scale_b


def _inverse_scale(covariances: Covariances, normalization: Normalization) -> Tensor:
    """One over the standard deviation, or what stands for it; 0 for features without variance."""
    variance = covariances.total.diagonal()
    second = variance + covariances.mean.square()
    square = second if normalization == "feature_cosine" else variance
    if normalization == "scalar":
        square, second = square.mean().expand_as(square), second.mean().expand_as(second)
    varies = square > (ROUNDING * torch.finfo(torch.float64).eps) ** 2 * second
    return torch.where(varies, square.clamp(min=0).rsqrt(), 0.0)


def _factor(covariances: Covariances) -> Tensor:
    """Cholesky factor L of T = L L^T; L_ii^2 is the variance that feature i keeps given the features before it."""
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(covariances.total)
    left = factor.diagonal().square() / covariances.total.diagonal()
    if failed or not (left > SINGULAR).all():
        feature = int(failed) - 1 if failed else int(left.argmin())
        raise ValueError(
            f"normalization='whiten' needs a T of full rank: got one of {len(left)} features where feature {feature} "
            f"follows from those before it, wanted more images or a narrower projector"
        )
    return factor


def _check_name(argument: str, name: str, choices: tuple[str, ...]) -> None:
    if name not in choices:
        raise unknown(argument, name, choices)
