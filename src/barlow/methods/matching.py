"""Which position of one view's feature map belongs to which of another's: by features or by place (VICRegL).

    partner(p) = argmin_q distance(p, q),     kept: the positions p that are nearest to their partners

Source: Bardes et al. 2022 (arXiv 2210.01571), section 3.2, and the official code, whose order of the kept positions
matters: the first kept position of every sample is the first slot, and statistics are taken slot by slot.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@torch.no_grad()
def matches_by_features(
    z_a: Float[Tensor, "n p d"], z_b: Float[Tensor, "n q d"], most: int
) -> tuple[Int[Tensor, "n g"], Int[Tensor, "n g"]]:
    """Match positions by the Euclidean distance of their embeddings, in float32 also under autocast.

    Args:
        z_a: embeddings of the positions of view a.
        z_b: those of view b.
        most: matches to keep; 0, or more than P: all.

    Returns:
        As `nearest_matches`.
    """
    dtype = torch.promote_types(z_a.dtype, torch.float32)
    with torch.autocast(device_type=z_a.device.type, enabled=False):
        return nearest_matches(torch.cdist(z_a.to(dtype), z_b.to(dtype)), most)


@torch.no_grad()
def matches_by_place(
    places_a: Float[Tensor, "n p 2"], places_b: Float[Tensor, "n q 2"], most: int
) -> tuple[Int[Tensor, "n g"], Int[Tensor, "n g"]]:
    """Match positions by their distance in the image. There is no limit to it: views that do not overlap match too.

    Args:
        places_a: where the positions of view a are, in one unit for both axes.
        places_b: those of view b.
        most: matches to keep; 0, or more than P: all.

    Returns:
        As `nearest_matches`.
    """
    # Not by a matrix product: places that are equal have to be 0 apart.
    distances = torch.cdist(places_a, places_b, compute_mode="donot_use_mm_for_euclid_dist")
    return nearest_matches(distances, most)


def nearest_matches(distances: Float[Tensor, "n p q"], most: int) -> tuple[Int[Tensor, "n g"], Int[Tensor, "n g"]]:
    """Match each position with the nearest of the other view and keep the `most` nearest matches.

    Args:
        distances: between the P positions of one view and the Q of another, per sample.
        most: matches to keep; 0, or more than P: all.

    Returns:
        The kept positions in their original order, and the positions of the other view that they are matched with.
    """
    nearest, partner = distances.min(dim=2)
    kept = nearest.argsort(dim=1, stable=True)[:, : most or None].sort(dim=1).values
    return kept, partner.gather(1, kept)


def at(positions: Float[Tensor, "n p d"], chosen: Int[Tensor, "n g"]) -> Float[Tensor, "n g d"]:
    """Return the embeddings of the chosen positions, each sample its own.

    Args:
        positions: embeddings.
        chosen: positions, from 0 to P - 1.
    """
    return positions.gather(1, chosen[:, :, None].expand(-1, -1, positions.shape[2]))


def position_places(
    boxes: Float[Tensor, "n 4"], flipped: Bool[Tensor, " n"], rows: int, columns: int
) -> Float[Tensor, "n p 2"]:
    """Return the centres of the cells of a feature map in the image that the view was cut from.

        (top + (k + 1/2) height / rows,  left + (m + 1/2) width / columns),   m counted from the right where flipped

    Args:
        boxes: top, left, height, width of the crops.
        flipped: which crops are mirrored left to right.
        rows: H' of the map.
        columns: W' of the map.

    Returns:
        Places (down, across) of the P = H' W' positions, row by row, in the unit of the boxes.

    Source: transforms.py of the official code, whose default (--no-flip-grid 1) takes no crop as flipped.
    """
    down = (torch.arange(rows, device=boxes.device, dtype=boxes.dtype) + 0.5) / rows
    across = (torch.arange(columns, device=boxes.device, dtype=boxes.dtype) + 0.5) / columns
    mirrored = torch.where(flipped[:, None], across.flip(0), across)
    top, left, height, width = boxes[:, :, None].unbind(1)
    y, x = top + down * height, left + mirrored * width
    grid = torch.stack([y[:, :, None].expand(-1, -1, columns), x[:, None, :].expand(-1, rows, -1)], dim=-1)
    return grid.flatten(1, 2)
