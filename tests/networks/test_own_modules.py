"""Any module from images to (N, d) is a backbone; others are told what is wrong."""

import pytest
import torch
from torch import Tensor, nn

from barlow.networks.backbones import check_backbone


class Returns(nn.Module):
    """Returns what it is told to, from a batch."""

    def __init__(self, *shape: int, dtype: torch.dtype = torch.float32, value: float = 0.0) -> None:
        super().__init__()
        self.output = torch.full(shape, value, dtype=dtype)

    def forward(self, _: Tensor) -> Tensor:
        return self.output


def test_any_module_is_counted_and_left_as_it_was() -> None:
    norm = nn.BatchNorm1d(4).eval()
    module = nn.Sequential(nn.Conv1d(3, 4, 3), norm, nn.AdaptiveAvgPool1d(1), nn.Flatten())
    mean = norm.get_buffer("running_mean").clone()
    assert check_backbone(module, torch.randn(2, 3, 16)) == 4
    assert (module.training, module[0].training, norm.training) == (True, True, False)
    assert torch.equal(norm.get_buffer("running_mean"), mean)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (Returns(2, 4, 5, 5), r"shape \(2, 4, 5, 5\); wanted: \(2, d\); add nn.AdaptiveAvgPool2d"),
        (Returns(2, 9, 4), r"shape \(2, 9, 4\); wanted: \(2, d\); take one token"),
        (Returns(3, 4), r"shape \(3, 4\); wanted: \(2, d\)$"),
        (Returns(2), r"shape \(2,\); wanted: \(2, d\)$"),
        (Returns(2, 4, dtype=torch.int64), "returns torch.int64"),
        (Returns(2, 4, value=float("nan")), "returns NaN or infinity"),
        (nn.Linear(4, 4), r"Linear fails on a batch of shape \(2, 3, 8, 8\): \S"),
        (nn.LSTM(8, 4), "LSTM fails on a batch"),
    ],
)
def test_a_module_that_gives_no_features_is_told_what_to_do(module: nn.Module, said: str) -> None:
    with pytest.raises(ValueError, match=f"^backbone: .*{said}"):
        check_backbone(module, torch.randn(2, 3, 8, 8))


def test_a_module_that_returns_a_tuple_is_refused() -> None:
    with pytest.raises(ValueError, match=r"LSTM returns tuple; wanted: one tensor of shape \(N, d\)"):
        check_backbone(nn.LSTM(8, 4, batch_first=True), torch.randn(2, 3, 8))
