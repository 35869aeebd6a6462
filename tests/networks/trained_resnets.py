"""Networks as somebody else has trained them, their weights under other names, and whether features are the same."""

import torch
from torch import Tensor, nn
from torchvision.models import ResNet, resnet18

State = dict[str, Tensor]


def drawn(network: nn.Module, seed: int = 1) -> nn.Module:
    """The network with weights and statistics that no initialisation gives, ready to be used."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            spread = torch.rand(value.shape, generator=generator)
            centred = value.ndim > 1 or name.endswith(("bias", "mean"))
            value.copy_((spread - 0.5) * 2 / max(1, value[0].numel()) ** 0.5 if centred else spread + 0.5)
    return network.eval()


def trained_resnet18() -> ResNet:
    """The network that somebody trained: torchvision's, without its classifier."""
    network = resnet18()
    network.fc = nn.Identity()
    drawn(network)
    return network


def under(prefix: str, state: State) -> State:
    return {prefix + name: value for name, value in state.items()}


def numbered(network: nn.Module) -> State:
    return nn.Sequential(*list(network.children())[:-1]).state_dict()


def same_features(loaded: nn.Module, network: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        expected = network(images)
        assert expected.std() > 1e-3
        torch.testing.assert_close(loaded(images), expected, rtol=1e-5, atol=1e-6)
