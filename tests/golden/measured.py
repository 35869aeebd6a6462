"""What the golden values are of: losses with gradients on fixed embeddings, and short runs. Public names only."""

import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from torch import Tensor

import barlow

DATA = Path(__file__).parent / "data"
N, D = 16, 6
QUIET = barlow.Machine(accelerator="cpu", quiet=True)
SHORT: dict[str, Any] = {"epochs": 2, "batch_size": 120, "precision": "32-true"}
"""Twenty steps on 1,200 digits, with the end of an epoch in the middle."""
SMALL: dict[str, Any] = {"width": 8, "projector": "64-64"}
TINY: dict[str, Any] = {"width": 2, "projector": "16-16"}
"""A network whose folder is small enough to be kept."""
STEPS = 20
RUNS: dict[str, dict[str, Any]] = {
    "digits": {},
    "simclr-small-grey": {"stem": "small", "views": "small-grey"},
    "vicregl-small-grey": {"image_size": 16, "options": {"local_projector": "32-32"}},  # four positions, not one
    "swav-small-grey": {"stem": "small", "options": {"num_prototypes": 32, "queue_length": 240, "queue_start": 0.5}},
}
"""Recipes by name, and what is changed in them beside `SMALL`."""
INTERRUPTED: dict[str, Any] = {
    "recipe": "byol-small-grey",
    "options": {"predictor_width": 16},
    "stem": "small",
    "views": "small-grey",
    **SHORT,
    **TINY,
    "batch_size": 60,
}
"""A method with a state of its own, the target network, which has to come back from the checkpoint."""
PICTURES, NUM_PICTURES = "digits.npy", 600
"""Its data, in its folder: with labels, probes would follow that take longer than everything else here."""
STUDY = ["study", "duality", "--quick", "--seeds", "1", "--jobs", "1", "--quiet"]
AUDIT: dict[str, Any] = {"num_images": 128, "num_views": 4, "mlp": False, "accelerator": "cpu"}


@dataclass(frozen=True)
class Value:
    """A loss: its total, its parts, and its gradient with respect to all inputs, one after the other."""

    total: float
    parts: Mapping[str, float]
    gradient: NDArray[Any]


@dataclass(frozen=True)
class Trained:
    """What a short run came to: its losses, the hash of the backbone, and how large each of its tensors is."""

    losses: Sequence[float]
    weights: str
    sizes: Mapping[str, float]


def this_machine() -> dict[str, str]:
    """What the last bit of a number depends on: the version of torch and the processor it computes on."""
    return {
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "processor": _processor(),
    }


def _processor() -> str:
    """Architecture, and under Linux maker, family and model: MKL and oneDNN choose their kernels by them."""
    table = Path("/proc/cpuinfo")
    wanted = ("vendor_id", "cpu family", "model", "model name")
    known: dict[str, str] = {}
    for line in table.read_text(encoding="utf-8").splitlines() if table.exists() else ():
        name, _, value = line.partition(":")
        if name.strip() in wanted:
            known.setdefault(name.strip(), value.strip())
    return " ".join([platform.machine(), *(known[name] for name in wanted if name in known)])


def made_here() -> bool:
    """Whether the values were made with this torch on such a processor, so that they have to come again bit by bit."""
    return bool(this_machine() == kept("made_on.json"))


def kept(name: str) -> Any:
    """Return what a JSON file of the golden values holds."""
    return json.loads((DATA / name).read_text(encoding="utf-8"))


def numbers(content: Any, place: str = "") -> dict[str, float]:
    """Return all numbers of something that JSON holds, by place, so that they can be compared one by one."""
    if isinstance(content, Mapping):
        parts = [(f"{place}/{name}", item) for name, item in content.items()]
    elif isinstance(content, list):
        parts = [(f"{place}/{position}", item) for position, item in enumerate(content)]
    else:
        is_number = isinstance(content, int | float) and not isinstance(content, bool)
        return {place: float(content)} if is_number else {}
    return {name: number for inner, item in parts for name, number in numbers(item, inner).items()}


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order, whatever the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def loss_values() -> dict[str, Value]:
    """Every loss, in float32 and in float64, by name."""
    return {
        f"{name}-{str(dtype).removeprefix('torch.')}": _value(*make(dtype))
        for dtype in (torch.float32, torch.float64)
        for name, make in _cases().items()
    }


Case = tuple[list[Tensor], Callable[[], barlow.Terms]]
"""What the loss is differentiated by, and the loss."""


def _cases() -> dict[str, Callable[[torch.dtype], Case]]:
    hints = get_type_hints(barlow.barlow_twins_loss)
    pairs: dict[str, Callable[..., barlow.Terms]] = {}
    for normalization in get_args(hints["normalization"]):
        for bias in get_args(hints["bias"]):
            if (normalization, bias) != ("whiten", "removed"):  # refused
                given = {"normalization": normalization, "bias": bias, "redundancy_weight": 0.02}
                pairs[f"barlow_twins-{normalization}-{bias}"] = partial(barlow.barlow_twins_loss, **given)
    for bias in get_args(hints["bias"]):
        pairs[f"barlow_twins-pearson-{bias}-gram"] = partial(barlow.barlow_twins_loss, form="gram", bias=bias)
    pairs |= {
        "simclr": barlow.simclr_loss,
        "simclr-warm": partial(barlow.simclr_loss, temperature=0.5),
        "vicreg": barlow.vicreg_loss,
        "vicreg-paper": partial(barlow.vicreg_loss, convention="paper"),
        "optimal_projector": barlow.optimal_projector_loss,
        "wmse": _wmse,
        "wmse-drawn": _wmse_drawn,
        "sigreg": _sigreg,
        "vicregl": _vicregl,
        "vicregl-weights": partial(_vicregl, alpha=0.3, invariance_weight=2.0, variance_weight=3.0),
    }
    fours = {"simsiam": barlow.simsiam_loss, "byol": barlow.byol_loss}
    return (
        {name: partial(_of_two, loss) for name, loss in pairs.items()}
        | {name: partial(_of_four, loss) for name, loss in fours.items()}
        | {"swav": _swav}
    )


def _value(inputs: list[Tensor], loss: Callable[[], barlow.Terms]) -> Value:
    terms = loss()
    found = torch.autograd.grad(terms.total, inputs, allow_unused=True, materialize_grads=True)
    gradient = torch.cat([part.flatten() for part in found]).detach().numpy()
    return Value(
        float(terms.total.detach()), {name: float(part.detach()) for name, part in terms.parts.items()}, gradient
    )


def _embeddings(views: int, dtype: torch.dtype, *, d: int = D, seed: int = 0) -> list[Tensor]:
    """Views of the same samples that agree in half of what they are; features differ in mean and scale."""
    generator = torch.Generator().manual_seed(seed)
    shared, *own = torch.randn(views + 1, N, d, generator=generator, dtype=torch.float64)
    scale = torch.linspace(0.5, 2.0, d, dtype=torch.float64)
    return [((shared + one) * scale + scale / 2).to(dtype).requires_grad_() for one in own]


def _of_two(loss: Callable[..., barlow.Terms], dtype: torch.dtype) -> Case:
    views = _embeddings(2, dtype)
    return views, partial(loss, *views)


def _of_four(loss: Callable[..., barlow.Terms], dtype: torch.dtype) -> Case:
    """Predictions and targets; the gradient of the targets is zero."""
    four = _embeddings(4, dtype)
    return four, partial(loss, *four)


def _swav(dtype: torch.dtype) -> Case:
    """Scores of three views, codes of the first two."""
    three = _embeddings(3, dtype)
    codes = torch.stack(_embeddings(2, dtype, seed=1)).detach().softmax(dim=-1)
    return three, lambda: barlow.swav_loss(torch.stack(three), codes)


def _wmse(z_a: Tensor, z_b: Tensor) -> barlow.Terms:
    halves = [torch.arange(N // 2), torch.arange(N // 2, N)]
    return barlow.wmse_loss([z_a, z_b], sub_batches=halves)


def _wmse_drawn(z_a: Tensor, z_b: Tensor) -> barlow.Terms:
    """Sub-batches as torch's generator draws them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return barlow.wmse_loss([z_a, z_b], w_size=D + 2, iterations=2, shrinkage=0.1)


def _sigreg(z_a: Tensor, z_b: Tensor) -> barlow.Terms:
    generator = torch.Generator().manual_seed(2)
    directions = torch.randn(D, 5, generator=generator, dtype=torch.float64)
    return barlow.sigreg_loss(torch.stack([z_a, z_b]), (directions / directions.norm(dim=0)).to(z_a.dtype))


def _vicregl(z_a: Tensor, z_b: Tensor, **weights: Any) -> barlow.Terms:
    """The embeddings are also those of D / 2 positions with two numbers each, so that one gradient is of both terms."""
    (views,) = get_args(get_type_hints(barlow.vicregl_loss)["views"])  # its class has no public name
    generator = torch.Generator().manual_seed(3)
    places = torch.rand(2, N, D // 2, 2, generator=generator, dtype=torch.float64).to(z_a.dtype)
    seen = [views(z, z.reshape(N, D // 2, 2), place) for z, place in zip((z_a, z_b), places, strict=True)]
    return barlow.vicregl_loss(seen, matches=(2, 1), feature_matches=(2, 1), **weights)


def digits(number: int) -> Tensor:
    """Return the first so many of the digits, without labels."""
    return torch.from_numpy((load_digits().images[:number, None] * 15.9375).astype(np.uint8))


def short_run(name: str, out: Path) -> barlow.Run:
    """Pretrain by one of `RUNS` for twenty steps."""
    return barlow.pretrain(digits(1200), recipe=name, out=out, machine=QUIET, **SHORT, **SMALL, **RUNS[name])


def trained(run: Path) -> Trained:
    """Read what a run came to from its folder."""
    weights = load_file(run / "checkpoints" / "backbone.safetensors")
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(f"{name} {weights[name].dtype} {tuple(weights[name].shape)}".encode())
        digest.update(weights[name].contiguous().numpy().tobytes())
    losses = [float(record["loss"]) for record in journal(run) if record["event"] == "step"]
    sizes = {name: float(weights[name].double().square().mean().sqrt()) for name in sorted(weights)}
    return Trained(losses, digest.hexdigest(), sizes)


def journal(run: Path) -> list[dict[str, Any]]:
    """Return the records of a run's journal."""
    return [json.loads(line) for line in (run / "journal.jsonl").read_text(encoding="utf-8").splitlines()]
