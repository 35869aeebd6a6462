"""What stands beside the trained features has to be fair to the network before training."""

import torch
from torch import Tensor, nn

from barlow.data.arrays import ArraySource
from barlow.evaluation.scores import CALIBRATION_SAMPLES, calibrate


def normalised() -> nn.BatchNorm1d:
    return nn.BatchNorm1d(1)


def as_it_is(samples: Tensor) -> Tensor:
    return samples


def sorted_by_class(num_samples: int) -> ArraySource:
    """Ten classes one after another, whose numbers are 0 to 9 with a little noise."""
    noise = 0.1 * torch.randn(num_samples, 1, generator=torch.Generator().manual_seed(0))
    return ArraySource((torch.arange(num_samples) * 10 // num_samples)[:, None] + noise)


def test_statistics_of_the_untrained_network_are_those_of_all_classes_of_sorted_data() -> None:
    source = sorted_by_class(4 * CALIBRATION_SAMPLES)
    norm = normalised()
    calibrate(norm, source, as_it_is)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert abs(float(norm.running_mean) - 4.5) < 0.2
    assert abs(float(norm.running_var) / 8.25 - 1) < 0.1
    again = normalised()
    calibrate(again, source, as_it_is)
    assert again.running_mean is not None
    assert torch.equal(norm.running_mean, again.running_mean)


def test_statistics_come_from_batches_of_one_size() -> None:
    """One sample has no variance: 257 samples are one batch of 256, and a torch network refuses a batch of one."""
    sizes = []

    def plain(samples: Tensor) -> Tensor:
        sizes.append(len(samples))
        return samples

    for number in (257, 700, 40, 5000):
        calibrate(normalised(), sorted_by_class(number), plain)
    assert sizes == [256, 256, 256, 40, *[256] * (CALIBRATION_SAMPLES // 256)]
