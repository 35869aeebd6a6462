"""The time-delay network: its size, any number of frames, and a clip that does not depend on its batch."""

import torch

from barlow.audio.front_end import FrontEnd, settled
from barlow.audio.networks.build import build_network
from barlow.audio.networks.tdnn import TDNN


def test_the_embedding_is_two_widths_for_any_number_of_frames() -> None:
    network = build_network("tdnn", settled(FrontEnd(mels=40), 8000), width=64)
    assert isinstance(network, TDNN)
    assert sum(parameter.numel() for parameter in network.parameters()) == 104_384
    for frames in (1, 32, 100):
        assert network.eval()(torch.randn(3, 1, 40, frames)).shape == (3, 128)


def test_a_clip_does_not_depend_on_the_batch_and_a_constant_one_has_a_gradient() -> None:
    torch.manual_seed(0)
    network = TDNN(8, width=4).eval()
    clips = torch.randn(5, 1, 8, 20)
    torch.testing.assert_close(network(clips)[2:3], network(clips[2:3]))
    constant = torch.zeros(2, 1, 8, 20, requires_grad=True)
    network(constant).sum().backward()
    assert constant.grad is not None
    assert bool(constant.grad.isfinite().all())
