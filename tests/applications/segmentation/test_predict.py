"""Masks come at the size of their images, and window by window they are what the whole image would have given."""

import pytest
import torch
from torch import Tensor, nn

from barlow.applications.segmentation.pictures import Seen
from barlow.applications.segmentation.predict import predict_mask, spans

AS_IT_IS = Seen(0, "dataset", (0.5,), (0.25,))


class Local(nn.Module):
    """Scores of a pixel from what is within seven pixels of it; two classes, or three."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.convolution = nn.Conv2d(1, outputs, 15, padding=7)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.convolution(images)
        return scores


def picture(height: int, width: int) -> Tensor:
    return torch.randint(256, (1, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("size", [(70, 131), (40, 40), (200, 33), (7, 5)])
def test_windows_give_what_the_whole_image_gives(outputs: int, size: tuple[int, int]) -> None:
    network, image = Local(outputs), picture(*size)
    whole = predict_mask(network, image, AS_IT_IS, window=1000, margin=7)
    parts = predict_mask(network, image, AS_IT_IS, window=40, margin=7)
    assert whole.shape == size
    assert whole.dtype == torch.uint8
    assert torch.equal(whole, parts)
    assert len(whole.unique()) > 1


@pytest.mark.parametrize("window", [32, 1000])
def test_images_that_are_seen_shrunk_get_masks_of_their_own_size(window: int) -> None:
    mask = predict_mask(Local(3), picture(130, 90), Seen(45, "image", (0.5,), (0.25,)), window=window, margin=7)
    assert mask.shape == (130, 90)


def test_what_is_used_of_windows_is_disjoint_and_everything() -> None:
    for length in range(1, 120):
        parts = spans(length, 20, 6)
        used = [place for _, inner in parts for place in range(inner.start, inner.stop)]
        assert used == list(range(length))
        for seen, inner in parts:
            assert 0 <= seen.start <= inner.start < inner.stop <= seen.stop <= length
            assert inner.start - seen.start >= 6 or seen.start == 0
            assert seen.stop - inner.stop >= 6 or seen.stop == length
            assert seen.stop - seen.start == min(20, length)


def test_memory_is_that_of_a_window() -> None:
    network, largest = Local(1), 0

    def look(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        nonlocal largest
        largest = max(largest, given[0].numel())

    network.register_forward_pre_hook(look)
    predict_mask(network, picture(300, 400), AS_IT_IS, window=64, margin=8)
    assert largest == 64 * 64


def test_a_window_without_an_inside_is_refused() -> None:
    with pytest.raises(ValueError, match=r"window: got 16 with margins of 8, wanted more than 16"):
        predict_mask(Local(1), picture(40, 40), AS_IT_IS, window=16, margin=8)
