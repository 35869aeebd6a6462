"""The projector is the published one by default, and its short strings mean what they say."""

import pytest
import torch
from torch import nn

from barlow.methods.heads import HeadSpec, projector, projector_width


def kinds(head: nn.Module) -> list[str]:
    return [type(layer).__name__ for layer in head.children()]


def linears(head: nn.Module) -> list[nn.Linear]:
    return [layer for layer in head.modules() if isinstance(layer, nn.Linear)]


def test_published_head_has_151_million_parameters() -> None:
    with torch.device("meta"):  # shapes only: the real one takes 600 MB
        head = projector("8192-8192-8192", 2048)
    count = sum(parameter.numel() for parameter in head.parameters())
    assert count == 2048 * 8192 + 2 * 8192**2 + 2 * 2 * 8192 == 151_027_712


def test_layers_are_linear_norm_activation_and_the_last_is_bare() -> None:
    head = projector("16-24-32", 8)
    hidden = ["Linear", "BatchNorm1d", "ReLU"]
    assert kinds(head) == [*hidden, *hidden, "Linear"]
    assert [(layer.in_features, layer.out_features) for layer in linears(head)] == [
        (8, 16),
        (16, 24),
        (24, 32),
    ]
    assert all(layer.bias is None for layer in linears(head))


def test_linear_layers_start_within_one_over_root_fan_in() -> None:
    torch.manual_seed(0)
    weight = linears(projector("512", 64))[0].weight
    assert weight.abs().max() <= 1 / 8
    assert weight.abs().max() > 0.99 / 8


@pytest.mark.parametrize(
    ("spec", "width"), [("16-24-32", 32), ("7", 7), ("linear-128", 128), ("linear", 5), ("none", 5)]
)
def test_projector_width_is_the_width_that_comes_out(spec: str, width: int) -> None:
    z = projector(spec, 5)(torch.randn(4, 5))
    assert z.shape == (4, width)
    assert projector_width(spec, 5) == width


@pytest.mark.parametrize("spec", ["linear-3", "linear"])
def test_linear_projector_is_one_matrix(spec: str) -> None:
    head = projector(spec, 5, bias=True, norm="layer")
    assert isinstance(head, nn.Linear)
    assert head.bias is None


@pytest.mark.parametrize(("last_norm", "affine"), [("plain", False), ("scale", True)])
def test_a_linear_projector_ends_as_its_method_asks(last_norm: str, affine: bool) -> None:
    head = projector("linear-3", 5, last_bias=True, last_norm=last_norm)
    assert isinstance(head, nn.Sequential)
    linear, norm = head
    assert isinstance(linear, nn.Linear)
    assert linear.bias is None
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.affine == affine


def test_no_projector_hands_features_through() -> None:
    h = torch.randn(4, 5)
    assert projector("none", 5)(h) is h


@pytest.mark.parametrize("spec", ["", "8192-", "8192-0", "-8", "8 8", "linear-", "linear-0", "linear-8-8", "mlp"])
def test_bad_spec_is_named_with_the_forms_known(spec: str) -> None:
    for call in (lambda: projector(spec, 5), lambda: projector_width(spec, 5)):
        with pytest.raises(ValueError, match=r"projector: .*'8192-8192-8192'.*'linear-128'.*'none'") as caught:
            call()
        assert repr(spec) in str(caught.value)


def test_norm_and_activation_can_be_chosen() -> None:
    assert kinds(projector("6-6", 5, norm="layer", activation="gelu")) == [
        "Linear",
        "LayerNorm",
        "GELU",
        "Linear",
    ]
    torch.manual_seed(0)
    head = projector("6-6", 5, norm="none", activation="relu")
    first, last = linears(head)
    h = torch.randn(4, 5)
    torch.testing.assert_close(head(h), last(first(h).relu()))


def test_unknown_norm_and_activation_are_named_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"norm: got 'bach', .*'batch'"):
        projector("6-6", 5, norm="bach")
    with pytest.raises(ValueError, match=r"activation: got 'gellu', .*'gelu'"):
        projector("6-6", 5, activation="gellu")


def test_vicreg_head_has_biases_but_in_the_last_layer() -> None:
    biases = [layer.bias is not None for layer in linears(projector("6-6-6", 5, bias=True, last_bias=False))]
    assert biases == [True, True, False]
    assert all(layer.bias is not None for layer in linears(projector("6-6-6", 5, bias=True)))


def test_simsiam_head_ends_with_standardised_outputs() -> None:
    head = projector("6-6", 5, last_norm="plain")
    z = head(torch.randn(64, 5))
    torch.testing.assert_close(z.mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.var(0, unbiased=False), torch.ones(6), atol=1e-2, rtol=0)
    last = list(head.children())[-1]
    assert not list(last.parameters())


def test_a_last_norm_of_scale_has_no_offset_to_learn() -> None:
    norm = HeadSpec("6-6").build(5, last_norm="scale").get_submodule("4")
    assert isinstance(norm, nn.BatchNorm1d)
    assert (norm.weight.requires_grad, norm.bias.requires_grad) == (True, False)
    with pytest.raises(ValueError, match="last_norm: got 'scales', wanted one of none, plain, scale"):
        HeadSpec("6-6").build(5, last_norm="scales")


def test_a_head_spec_builds_what_the_projector_builds() -> None:
    spec = HeadSpec("6-7", norm="layer", activation="gelu", bias=True)
    assert str(spec.build(5)) == str(projector("6-7", 5, norm="layer", activation="gelu", bias=True))
    assert spec.num_outputs(5) == 7
