"""Views of several sizes: a few large ones of most of the picture, more small ones of a part of it.

A small view costs the share of its pixels: two of 224 and six of 96 cost what three of 224 do.

Source: Caron et al. 2020 (SwAV, arXiv 2006.09882), section 3.3.
"""

from collections.abc import Sequence

from barlow.views.pipeline import ImagePipeline


def multi_crop(*large: ImagePipeline, small: ImagePipeline, num_small: int = 6) -> tuple[ImagePipeline, ...]:
    """Put the large pipelines first and `num_small` times the small one behind them.

    Args:
        large: the pipelines whose views a method may look at twice, such as for SwAV's codes.
        small: the pipeline of the small views.
        num_small: how many of them; 6 in the paper (section 4.1).

    Returns:
        All pipelines, large ones first: the order that `barlow.methods.swav` relies on.

    Raises:
        ValueError: no large pipeline, fewer than 0 small ones, or a small size that is not below every large one.
    """
    if not large or num_small < 0:
        raise ValueError(f"large, num_small: got {len(large)} and {num_small}, wanted at least 1 and 0")
    if small.size >= min(pipeline.size for pipeline in large):
        sizes = [pipeline.size for pipeline in large]
        raise ValueError(f"small: got a size of {small.size}, wanted less than those of the large pipelines, {sizes}")
    return (*large, *(small,) * num_small)


def sizes_in_proportion(pipelines: Sequence[ImagePipeline], size: int) -> list[int]:
    """Return the side of every view for a run of `size` pixels.

    The first pipeline gets `size`, the others what keeps their ratio to it: pipelines of 224 and 96 pixels become
    32 and 14 for a run of 32.

    Args:
        pipelines: with the sizes of their source.
        size: side of the first view in pixels.

    Returns:
        One side per pipeline, at least 1.
    """
    nominal = pipelines[0].size
    return [max(1, (2 * size * pipeline.size + nominal) // (2 * nominal)) for pipeline in pipelines]
