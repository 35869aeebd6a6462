"""The one MLP that stands between a backbone and a loss, described by a short string of widths."""

import re
from dataclasses import dataclass

from torch import Tensor, nn

from barlow.errors import unknown
from barlow.recipes import Recipe

NORMS: dict[str, type[nn.Module]] = {
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
    "none": nn.Identity,
}
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}
LAST_NORMS = ("none", "plain", "scale")


@dataclass(frozen=True)
class HeadSpec:
    """A projector before the width of the backbone is known, as a recipe describes it; `build(num_features)` makes it.

    Attributes:
        widths: the string that `projector` reads.
        norm: "batch", "layer" or "none".
        activation: "relu" or "gelu".
        bias: whether linear layers have a bias.
    """

    widths: str
    norm: str = "batch"
    activation: str = "relu"
    bias: bool = False

    def build(self, num_features: int, *, last_norm: str = "none", last_bias: bool | None = None) -> nn.Module:
        """Return the projector, a module from (N, d) to (N, D).

        Args:
            num_features: d.
            last_norm: what it ends with, "none", "plain" or "scale", as `projector` says.
            last_bias: whether the last layer has a bias; None: as the others.
        """
        return projector(
            self.widths,
            num_features,
            norm=self.norm,
            activation=self.activation,
            bias=self.bias,
            last_bias=last_bias,
            last_norm=last_norm,
        )

    def num_outputs(self, num_features: int) -> int:
        """Return the width D of the embeddings."""
        return projector_width(self.widths, num_features)


def head_of(recipe: Recipe) -> HeadSpec:
    """Return the projector that a recipe describes."""
    return HeadSpec(
        recipe.projector, recipe.projector_norm, activation=recipe.projector_activation, bias=recipe.projector_bias
    )


def projector(
    spec: str,
    num_features: int,
    *,
    norm: str = "batch",
    activation: str = "relu",
    bias: bool = False,
    last_bias: bool | None = None,
    last_norm: str = "none",
) -> nn.Module:
    """Build the projector z = g(h) that `spec` describes, a module from (N, d) to (N, `projector_width`).

    "8192-8192-8192" is Linear, norm, activation, Linear, norm, activation, Linear: the last layer is bare. "linear-128"
    is one Linear without bias, "linear" the same as wide as the features, "none" the identity. The linear layers start
    as PyTorch starts them (uniform, up to 1/sqrt(fan-in)), as in the published runs.

    `norm` is "batch", "layer" or "none", `activation` "relu" or "gelu". `last_bias` None is as `bias`; VICReg's head
    has bias=True, last_bias=False. `last_norm` is what the head ends with: "none"; "plain", a batch norm without scale
    and offset (SimSiam's projector); "scale", one with a scale only (SimCLR's head in the official code).

    Source: Zbontar et al. 2021, section 2.2, and the official code: 2048-8192-8192-8192 without biases.
    """
    _check_choice("norm", norm, NORMS)
    _check_choice("activation", activation, ACTIVATIONS)
    if last_norm not in LAST_NORMS:
        raise unknown("last_norm", last_norm, LAST_NORMS)
    widths = _widths(spec, num_features)
    if not widths:
        return nn.Identity()
    if spec.startswith("linear"):
        bias = last_bias = False
    layers: list[nn.Module] = []
    inputs = num_features
    for outputs in widths[:-1]:
        layers += [nn.Linear(inputs, outputs, bias=bias), NORMS[norm](outputs), ACTIVATIONS[activation]()]
        inputs = outputs
    layers.append(nn.Linear(inputs, widths[-1], bias=bias if last_bias is None else last_bias))
    if last_norm != "none":
        layers.append(nn.BatchNorm1d(widths[-1], affine=last_norm == "scale"))
    if last_norm == "scale":
        layers[-1].get_parameter("bias").requires_grad_(False)
    return layers[0] if spec.startswith("linear") and len(layers) == 1 else nn.Sequential(*layers)


def projector_width(spec: str, num_features: int) -> int:
    """Return the embedding width D, the number of outputs of `projector(spec, num_features)`."""
    widths = _widths(spec, num_features)
    return widths[-1] if widths else num_features


def _widths(spec: str, num_features: int) -> list[int]:
    """Return the output width of every linear layer, none for the identity."""
    if spec == "none":
        return []
    if spec == "linear":
        return [num_features]
    if not re.fullmatch(r"linear-[1-9]\d*|[1-9]\d*(-[1-9]\d*)*", spec):
        raise ValueError(
            f"projector: {spec!r} is none of the forms known: widths such as '8192-8192-8192', 'linear-128', "
            "'linear' (as wide as the features), 'none'"
        )
    return [int(width) for width in spec.removeprefix("linear-").split("-")]


def _check_choice(argument: str, value: str, choices: dict[str, type[nn.Module]]) -> None:
    if value not in choices:
        raise unknown(argument, value, choices)


def widths_of(head: nn.Module | None) -> str:
    """Return the widths of an MLP as recipes write them: "2048-2048", or "linear-128"; "" for anything else."""
    parts = [head] if isinstance(head, nn.Linear) else list(head) if isinstance(head, nn.Sequential) else []
    widths = [str(part.out_features) for part in parts if isinstance(part, nn.Linear)]
    return f"linear-{widths[0]}" if len(widths) == 1 else "-".join(widths)


def mlp_of(weights: dict[str, Tensor]) -> nn.Module | None:
    """Build the MLP whose state these weights are; None for anything but linear layers, BatchNorm and ReLU in order.

    Weights go by name within a `Sequential`, such as "0.weight" and "1.running_mean". Places without weights are ReLU,
    as in the heads of all methods here.
    """
    places: dict[int, dict[str, Tensor]] = {}
    for key, value in weights.items():
        place, _, rest = key.partition(".")
        if not place.isdigit() or "." in rest:
            return None
        places.setdefault(int(place), {})[rest] = value
    layers: list[nn.Module] = []
    for number in range(max(places, default=-1) + 1):
        state = places.get(number)
        if state is None:
            layers.append(nn.ReLU())
        elif "running_mean" in state:
            layers.append(nn.BatchNorm1d(len(state["running_mean"]), affine="weight" in state))
        elif "weight" in state and state["weight"].ndim == 2:
            out, width = state["weight"].shape
            layers.append(nn.Linear(width, out, bias="bias" in state))
        else:
            return None
    mlp = nn.Sequential(*layers)
    mlp.load_state_dict({f"{place}.{name}": value for place, state in places.items() for name, value in state.items()})
    return mlp if layers else None
