"""AudioNTT is the published one by its number of parameters; networks of timm take one channel of any size."""

import pytest
import torch

from barlow.audio.front_end import FrontEnd
from barlow.audio.networks.build import build_network, check_name

FRONT = FrontEnd(8000, 512, 160, 32, 60.0, 3800.0, 0.62)
PUBLISHED = FrontEnd(16000, 1024, 160, 64, 60.0, 7800.0, 0.95)


def num_parameters(network: torch.nn.Module) -> int:
    return sum(one.numel() for one in network.parameters())


def test_the_published_network_has_6_33_million_parameters_and_3072_features() -> None:
    network = build_network("audiontt", PUBLISHED, width=64).eval()
    assert num_parameters(network) == pytest.approx(6.33e6, rel=2e-3)
    with torch.no_grad():
        assert network(torch.zeros(2, 1, 64, 96)).shape == (2, 3072)


def test_the_small_one_has_512_features_and_no_dropout() -> None:
    network = build_network("audiontt-small", FRONT, width=32)
    assert 1.3e5 < num_parameters(network) < 1.5e5
    x = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    assert network(x).shape == (2, 512)
    assert torch.equal(network(x), network(x))


def test_any_length_goes_through_and_an_embedding_does_not_depend_on_its_batch() -> None:
    network = build_network("audiontt-small", FRONT, width=8).eval()
    x = torch.randn(7, 1, 32, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together = network(x)
        for place in range(7):
            torch.testing.assert_close(network(x[place : place + 1])[0], together[place], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["timm:resnet10t", "timm:vit_tiny_patch16_224"])
def test_networks_of_timm_take_spectrograms(name: str) -> None:
    front = FrontEnd(16000, 1024, 160, 64, 60.0, 7800.0, 0.95)
    with torch.no_grad():
        found = build_network(name, front, width=64).eval()(torch.zeros(2, 1, front.mels, front.frames))
    assert found.ndim == 2


def test_names_that_do_not_exist_are_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'audiontt'"):
        check_name("audiontts")
    with pytest.raises(ValueError, match="pretrained"):
        build_network("audiontt", FRONT, width=64, pretrained=True)
