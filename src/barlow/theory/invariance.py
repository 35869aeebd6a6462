"""How much of the variance of features is the image, and how much the augmentation. Numbers in, numbers out."""

import torch
from jaxtyping import Float
from torch import Tensor


def invariance_share(h: Float[Tensor, "v n d"]) -> float:
    """Return tr B / tr T: the share of the variance of h that lies between images, not between views of one image.

    One-way analysis of variance over n images with V views each (unbiased for both traces):
        MS_W = sum_nv |h_nv - h_n.|^2 / (n (V-1)),   MS_B = V sum_n |h_n. - h_..|^2 / (n-1),
        tr W = MS_W,   tr B = (MS_B - MS_W) / V,   T = B + W.

    Args:
        h: features of V >= 2 views of n >= 2 images; views drawn independently from the same pipeline.

    Returns:
        At most 1 (invariant); sampling error can take it a little below 0 where nothing is invariant; 0 for
        constant features.

    Raises:
        ValueError: fewer than 2 views or images.

    Source: the intraclass correlation ICC(1) of Shrout and Fleiss 1979, summed over features.
    """
    views, images, _ = h.shape
    if views < 2 or images < 2:
        raise ValueError(f"h: got {views} views of {images} images, wanted at least 2 of 2")
    h = h.double()
    means = h.mean(dim=0)
    within = float((h - means).square().sum()) / (images * (views - 1))
    between = (views * float((means - means.mean(dim=0)).square().sum()) / (images - 1) - within) / views
    total = between + within
    return between / total if total > 0 else 0.0


def invariance_share_with_error(h: Float[Tensor, "v n d"], *, num_blocks: int = 16) -> tuple[float, float]:
    """Return `invariance_share` and its standard error by a jackknife over blocks of images.

    se^2 = (G-1)/G sum_g (s_g - mean s)^2,  s_g the share without block g. The independent unit is the image,
    never the view.

    Args:
        h: as for `invariance_share`.
        num_blocks: G, at most the number of images less one.

    Returns:
        (share, standard error).
    """
    images = h.shape[1]
    blocks = torch.arange(images) % min(num_blocks, images - 1)
    left_out = torch.tensor([invariance_share(h[:, blocks != g]) for g in range(int(blocks.max()) + 1)])
    count = len(left_out)
    variance = (count - 1) / count * float((left_out - left_out.mean()).square().sum())
    return invariance_share(h), variance**0.5
