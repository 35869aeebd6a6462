"""Narrow ResNets of basic blocks: what neither library has."""

import os
import subprocess
import sys

import torch
from torch import nn

from barlow.networks.basic_resnet import SubsampledPointwise, _stage


def test_a_subsampled_pointwise_convolution_is_the_strided_one() -> None:
    torch.manual_seed(0)
    ours, theirs = SubsampledPointwise(4, 8, 1, 2, bias=False).double(), nn.Conv2d(4, 8, 1, 2, bias=False).double()
    theirs.load_state_dict(ours.state_dict())
    for side in (7, 8):
        images = torch.randn(5, 4, side, side, dtype=torch.float64)
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-12, atol=1e-12)


def test_only_stages_with_fewer_than_16_channels_take_it() -> None:
    stages = [_stage(width, 2 * width, 1, stride=2) for width in (4, 15, 16)]
    shortcuts = [type(stage.get_submodule("0.downsample.0")) for stage in stages]
    assert shortcuts == [SubsampledPointwise, SubsampledPointwise, nn.Conv2d]


NARROW_STEPS = """
import torch
from barlow.networks.basic_resnet import _stage
shortcut = _stage(4, 8, 1, stride=2)[0].downsample[0].to(memory_format=torch.channels_last)
junk = []
for step in range(80):
    images = torch.randn(127, 4, 12, 12, requires_grad=True).to(memory_format=torch.channels_last)
    shortcut(images).square().sum().backward()
    junk = [*junk[-20:], torch.zeros(step % 37 + 1)]
print("alive")
"""


def test_narrow_networks_do_not_corrupt_memory() -> None:
    """With `nn.Conv2d` this died in every run: an odd batch, two threads, four channels, channels_last."""
    command, threads = [sys.executable, "-c", NARROW_STEPS], {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=threads)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
