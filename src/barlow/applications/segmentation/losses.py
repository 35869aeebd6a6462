"""The loss of a segmentation: half cross-entropy, half Dice, over the pixels that somebody labelled.

    L = (CE + D) / 2
    CE  mean over pixels of -log p(class of the pixel)             (for two classes the binary cross-entropy)
    D   1 - mean over classes c of (2 sum p_c g_c + 1) / (sum p_c + sum g_c + 1)

p_c is the probability of class c at a pixel, g_c 1 where the pixel is of it; sums are over the pixels of the batch. For
two classes D is of the second alone; for more, of those that the batch has.

Source: Punn & Agarwal 2022 (BT-Unet). Differs from their code, which weights .4 and .6 and whose categorical
cross-entropy over a single sigmoid channel is 0, so that it trains on Dice alone.
"""

from jaxtyping import Float, Integer
from torch import Tensor
from torch.nn import functional

from barlow.seams import Terms

SMOOTH = 1.0
"""Pixels added above and below: a class that is neither there nor predicted has no Dice loss."""


def segmentation_loss(
    scores: Float[Tensor, "n k h w"], targets: Integer[Tensor, "n h w"], *, ignored: int = 255
) -> Terms:
    """Return half the cross-entropy plus half the Dice loss, over labelled pixels.

    Args:
        scores: (N, 1, H, W), the log odds of the second of two classes, or (N, K, H, W), one score for each class.
        targets: (N, H, W), classes from 0.
        ignored: what targets say of pixels without a label.

    Returns:
        The loss, and its parts "cross_entropy" and "dice", already halved. 0 where no pixel is labelled.

    Example:
        >>> import torch
        >>> scores = torch.tensor([[[[20.0, -20.0]]]])
        >>> float(segmentation_loss(scores, torch.tensor([[[1, 0]]])).total) < 1e-6
        True
    """
    known = targets != ignored
    wanted = targets[known].long()
    flat = scores.float().movedim(1, -1)[known]
    if not len(wanted):
        nothing = flat.sum()
        return Terms(nothing, {"cross_entropy": nothing, "dice": nothing})
    if scores.shape[1] == 1:
        odds = flat[:, 0]
        cross_entropy = functional.binary_cross_entropy_with_logits(odds, wanted.float())
        dice = _dice(odds.sigmoid()[:, None], wanted.float()[:, None]).mean()
    else:
        cross_entropy = functional.cross_entropy(flat, wanted)
        truth = functional.one_hot(wanted, scores.shape[1]).float()
        there = truth.sum(0) > 0
        dice = (_dice(flat.softmax(1), truth) * there).sum() / there.sum()
    parts = {"cross_entropy": cross_entropy / 2, "dice": dice / 2}
    return Terms(parts["cross_entropy"] + parts["dice"], parts)


def _dice(probabilities: Float[Tensor, "p c"], truth: Float[Tensor, "p c"]) -> Float[Tensor, " c"]:
    both = (probabilities * truth).sum(0)
    return 1 - (2 * both + SMOOTH) / (probabilities.sum(0) + truth.sum(0) + SMOOTH)
