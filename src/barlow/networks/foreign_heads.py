"""Projectors of other projects: modules built from names and shapes of weights, and their widths."""

from torch import Tensor, nn


def widths_of(head: nn.Module | None) -> str:
    """Return the widths of an MLP as recipes write them: "2048-2048", or "linear-128"; "" for anything else."""
    parts = [head] if isinstance(head, nn.Linear) else list(head) if isinstance(head, nn.Sequential) else []
    widths = [str(part.out_features) for part in parts if isinstance(part, nn.Linear)]
    return f"linear-{widths[0]}" if len(widths) == 1 else "-".join(widths)


def mlp_of(weights: dict[str, Tensor]) -> nn.Module | None:
    """Build the MLP whose state these weights are; None for anything but linear layers, BatchNorm and ReLU in order.

    Args:
        weights: by name within a `Sequential`, such as "0.weight" and "1.running_mean". Places without weights are
            ReLU, as in the heads of all methods here.
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
