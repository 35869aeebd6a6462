"""What keeps a network from forgetting, in numbers: nothing, EWC, distillation from the stage before, or replay."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from barlow.arguments import check_fields
from barlow.errors import unknown

Mode = Literal["last", "online", "separate"]


@dataclass(frozen=True)
class EWC:
    """Elastic weight consolidation: weights that mattered to the loss of earlier stages are held where they were.

        L = L_own(theta) + sum over anchors of  lambda / 2  sum_i F_i (theta_i - theta*_i)^2

    F is the diagonal Fisher of the stage's own loss, theta* its weights at the end.

    Attributes:
        relative_weight: r. F grows with the square of the loss, so a lambda of one size of network is nothing at
            another. Here lambda = r L / P, with L the loss of the anchored stage at its end and P = 1/2 sum_i F_i d_i^2
            the penalty of a move d as long as that of the first stage from its random start.
        weight: lambda itself, as the paper types it (1.0); None: from `relative_weight`.
        mode: "last" anchors to the stage before alone (the paper); "online" to it with the sum of all Fishers so far,
            those before times `decay`; "separate" to every stage before by itself.
        decay: gamma of "online".
        batches: batches of pairs that a Fisher is the mean of, at most one pass over the data.

    Source: Kirkpatrick et al. 2017; Marsocci & Scardapane 2023 (Continual Barlow Twins). Online: Schwarz et al. 2018.
    """

    relative_weight: int | float = 30
    weight: int | float | None = None
    mode: Mode = "last"
    decay: int | float = 1
    batches: int = 64

    def __post_init__(self) -> None:
        """Refuse what is no number or out of range."""
        check_fields(self)
        _at_least_zero(self, "relative_weight", "weight")
        _as_floats(self, "relative_weight", "weight", "decay")
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay: got {self.decay}, wanted a number in [0, 1]")
        if self.batches < 1:
            raise ValueError(f"batches: got {self.batches}, wanted at least 1")


@dataclass(frozen=True)
class Distill:
    """Distillation: a predictor g of the new embeddings has to agree with those of the network of the stage before.

        L = L_own + w / V  sum over the V views of  L_BT(g(z), z_before)

    L_BT is the method's own loss of two embeddings, and Barlow Twins' where it has none. The network before stands
    still, in evaluation mode with the statistics of its own stage.

    Attributes:
        weight: w.
        hidden: width of the hidden layer of g; 0: as wide as the embeddings.

    Source: Fini et al. 2022 (CaSSLe), where g has a hidden layer of 2048.
    """

    weight: int | float = 1
    hidden: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no number or out of range."""
        check_fields(self)
        _at_least_zero(self, "weight", "hidden")
        _as_floats(self, "weight")


@dataclass(frozen=True)
class Replay:
    """Replay: a few samples of every stage are kept in its folder, and mixed into what later stages learn from.

    Attributes:
        samples: kept of each stage, chosen at random; tensors, as the source gives them.
        share: of the samples of an epoch that are old ones, every kept one as often as any other; those of the stage
            itself all come as before, so an epoch has 1 / (1 - share) times the steps.
    """

    samples: int = 256
    share: float = 0.25

    def __post_init__(self) -> None:
        """Refuse what is no number or out of range."""
        check_fields(self)
        if self.samples < 1:
            raise ValueError(f"samples: got {self.samples}, wanted at least 1")
        if not 0 < self.share < 1:
            raise ValueError(f"share: got {self.share}, wanted a number between 0 and 1")


Keep = EWC | Distill | Replay | None
KEEP: dict[str, type[EWC] | type[Distill] | type[Replay] | None] = {
    "none": None,
    "ewc": EWC,
    "distill": Distill,
    "replay": Replay,
}
"""The ways by the name that is typed."""


def keep_named(name: str, options: Mapping[str, Any] | None = None) -> Keep:
    """Return a way by its name with some of its numbers changed; ValueError for a name that does not exist."""
    if name not in KEEP:
        raise unknown("keep", name, KEEP)
    kind = KEEP[name]
    known = [] if kind is None else [one.name for one in fields(kind)]
    for option in options or {}:
        if option not in known:
            if not known:
                raise ValueError(f"keep_options: got {option!r} with keep none, which has no numbers")
            raise unknown("keep_options", option, known)
    return None if kind is None else kind(**(options or {}))


def name_of(keep: Keep) -> str:
    """Return the name of a way."""
    return next(name for name, kind in KEEP.items() if kind is (None if keep is None else type(keep)))


def recorded(keep: Keep) -> dict[str, Any]:
    """Return a way with all its numbers, for a file."""
    return {"keep": name_of(keep)} | ({} if keep is None else asdict(keep))


def _at_least_zero(instance: Any, *names: str) -> None:
    for name in names:
        value = getattr(instance, name)
        if value is not None and not value >= 0:
            raise ValueError(f"{name}: got {value}, wanted 0 or more")


def _as_floats(instance: Any, *names: str) -> None:
    """30 and 30.0 are one number, also where they stand in a record."""
    for name in names:
        value = getattr(instance, name)
        object.__setattr__(instance, name, None if value is None else float(value))
