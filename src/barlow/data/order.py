"""The order of samples: positions of a source, cut into batches and checked before anything is read."""

from collections.abc import Sequence


def batches_of(order: Sequence[int], batch_size: int, num_samples: int) -> list[list[int]]:
    """Cut `order` into consecutive batches of `batch_size` positions; the last one may be shorter.

    Args:
        order: positions in a source, in any order, repeats allowed.
        batch_size: positions per batch, at least 1.
        num_samples: length of the source; positions are 0 ... num_samples - 1.

    Returns:
        ceil(len(order) / batch_size) lists of positions.

    Raises:
        ValueError: a batch size below 1, or a position outside the source.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size: got {batch_size}, wanted at least 1")
    positions = [int(position) for position in order]
    if positions and (min(positions) < 0 or max(positions) >= num_samples):
        wrong = min(positions) if min(positions) < 0 else max(positions)
        raise ValueError(f"order: position {wrong} is not in a source of {num_samples} samples")
    return [positions[start : start + batch_size] for start in range(0, len(positions), batch_size)]


def evenly_spaced(num_samples: int, most: int) -> list[int]:
    """Return at most `most` positions spread evenly over a source: a deterministic look at all of it.

    Sources are often sorted by class or by date, so the first positions would show one corner only.

    Args:
        num_samples: length of the source.
        most: largest number of positions wanted.

    Returns:
        min(num_samples, most) increasing positions.
    """
    count = min(num_samples, most)
    return [(2 * place + 1) * num_samples // (2 * count) for place in range(count)]
