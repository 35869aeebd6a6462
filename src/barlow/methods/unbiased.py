"""The squares of C over pairs of different samples (U-statistics): what Barlow Twins is without its batch's own noise.

C = z_a^T z_b / N is an unbiased estimate of the matrix that all samples together would give, but its square is not:
E C_ij^2 = (E C_ij)^2 + Var(C_ij), and Var(C_ij) is about 1/N. Written out, C_ij^2 is a sum over pairs of samples
(n, m), and all of that excess is in the pairs n = m. Without them, with p_n = z_a[n, i] z_b[n, j],

    U_ij = (1/(N(N-1))) sum_{n != m} p_n p_m = ((sum_n p_n)^2 - sum_n p_n^2) / (N(N-1)),        E U_ij = (E C_ij)^2.

Summed over i and j it is (1/(N(N-1))) sum_{n != m} K^a_nm K^b_nm with K = z z^T: only different samples are compared.
An estimate of a square that may be negative: good for gradients and for comparing batch sizes, no bound from below.
"""

from jaxtyping import Float
from torch import Tensor

from barlow.collectives import AllMean, count_samples, identity
from barlow.correlation import Form, diagonal_and_rest


def squares_without_own_pairs(
    z_a: Float[Tensor, "n d"],
    z_b: Float[Tensor, "n d"],
    *,
    form: Form = "auto",
    all_mean: AllMean = identity,
) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"], Float[Tensor, ""]]:
    """Return the diagonal of C, unbiased estimates of its squares, and of the sum of the other squares of C.

        C_ii = mean_n p_ni,   U_ii = (N C_ii^2 - mean_n p_ni^2) / (N - 1),   p = z_a * z_b,
        sum_{i != j} U_ij = (N sum_{i != j} C_ij^2 - mean_n [|a_n|^2 |b_n|^2 - |p_n|^2]) / (N - 1).

    So the two forms of `diagonal_and_rest` serve here too, and what is subtracted costs N x D.

    Args:
        z_a: normalised embeddings of view a.
        z_b: normalised embeddings of view b.
        form: "direct" (D x D), "gram" (N x N) or "auto", as in `diagonal_and_rest`.
        all_mean: mean over all processes; one of your own has to tell N: `collectives.MeanOver`.

    Returns:
        (C_ii, U_ii, sum_{i != j} U_ij). Unbiased when the rows are independent of one another, which a
        normalisation by statistics of the batch makes true only up to O(1/N).

    Raises:
        ValueError: fewer than 2 samples over all processes: there is no pair; a bare `all_mean` of one's own.

    Source:
        methods.md section 9.5 of the project's notes; Hoeffding 1948 for U-statistics.
    """
    num_local = z_a.shape[0]
    n = count_samples(num_local, z_a.device, all_mean)
    if n < 2:
        raise ValueError(f"z_a, z_b: got {n} sample, wanted at least 2: bias='removed' compares different samples")
    diagonal, rest = diagonal_and_rest(z_a, z_b, form=form, all_mean=all_mean)
    own_ii = all_mean((z_a * z_b).square().mean(dim=0), num_local)
    own = all_mean((z_a.square().sum(dim=1) * z_b.square().sum(dim=1)).mean(), num_local)
    diagonal_squares = (n * diagonal.square() - own_ii) / (n - 1)
    rest_squares = (n * rest - (own - own_ii.sum())) / (n - 1)
    return diagonal, diagonal_squares, rest_squares
