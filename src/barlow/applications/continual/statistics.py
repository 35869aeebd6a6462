"""BatchNorm statistics of each data set: kept when its stage ends, put back when the network is to see it again.

Weights that are protected from moving are of little use with the running mean and variance of other data.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from barlow.files import durable_file

STATISTICS = "statistics.safetensors"
"""File in the run folder of a stage."""
NAMES = ("running_mean", "running_var")


def statistics_of(network: nn.Module) -> dict[str, Tensor]:
    """Return copies of the running means and variances of a network, by name; empty without BatchNorm."""
    return {
        f"{name}.{statistic}": getattr(part, statistic).detach().cpu().clone()
        for name, part in network.named_modules()
        if isinstance(part, _BatchNorm) and part.track_running_stats
        for statistic in NAMES
    }


def write_statistics(folder: Path, network: nn.Module) -> None:
    """Write them to a run folder."""
    with durable_file(folder / STATISTICS) as file:
        file.write(save(statistics_of(network)))


def read_statistics(folder: Path) -> dict[str, Tensor]:
    """Return what `write_statistics` wrote."""
    return load_file(folder / STATISTICS)


@contextmanager
def with_statistics(network: nn.Module, statistics: Mapping[str, Tensor]) -> Iterator[None]:
    """Let a network have other running statistics while the block runs: of `statistics` by name, on its device."""
    before: list[tuple[nn.Module, str, Tensor]] = []
    for name, value in statistics.items():
        place, _, statistic = name.rpartition(".")
        part = network.get_submodule(place)
        own = part.get_buffer(statistic)
        before.append((part, statistic, own))
        part._buffers[statistic] = value.to(own.device, own.dtype)  # another tensor: nothing is copied to and fro
    try:
        yield
    finally:
        for part, statistic, own in before:
            part._buffers[statistic] = own
