"""Every figure of an audit, typed and told once: its key in audit.json, its title and unit, what it tells and what not.

Audits write these records; verdicts, comparisons, pages and the terminal read them. The name of a field is its key in
the file, so that a misspelt one fails in the type checker and not in silence. Reading is tolerant: what is missing,
null, not finite or of another kind counts as not measured, so that old and damaged files still open. No torch.

A new figure is one field here, in the place where it is to be read, and the line of an audit that measures it.
"""
# ruff: noqa: RUF009 - figure() and setting() return fields

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, TypeVar, cast, get_args, get_type_hints

from barlow.formats import Number, number

NUM_ERRORS = 2.0
"""Half-width of an interval in standard errors: about 95%."""
FINE_INTERVAL = 0.01
"""Percentages whose interval is narrower than this on either side are written with one decimal."""
T = TypeVar("T")
R = TypeVar("R", bound="Record")
N = TypeVar("N", bound="ByName")


@dataclass(frozen=True)
class Measured:
    """A number with its standard error; its interval is value +- 2 errors, cut to what is possible.

    Attributes:
        value: the number.
        error: one standard error; None where none is known.
        least: smallest possible value, where intervals are cut.
        most: largest possible value.
        exact: whether no error is known because there is none to know: closed forms, counts.
    """

    value: float
    error: float | None = None
    least: float = -math.inf
    most: float = math.inf
    exact: bool = False

    @property
    def low(self) -> float | None:
        """Lower end of the interval."""
        return None if self.error is None else min(max(self.value - NUM_ERRORS * self.error, self.least), self.most)

    @property
    def high(self) -> float | None:
        """Upper end of the interval."""
        return None if self.error is None else max(min(self.value + NUM_ERRORS * self.error, self.most), self.least)

    def above(self, threshold: float) -> bool | None:
        """Return whether the whole interval lies above a threshold, None where it straddles it.

        Without a standard error the value alone decides.
        """
        low, high = self.low, self.high
        if low is None or high is None:
            return self.value > threshold
        return True if low > threshold else None if high > threshold else False

    def as_percent(self) -> str:
        """Return "48% [46, 50]", with a decimal where the interval is narrow enough for one."""
        if self.low is None or self.high is None:
            return f"{_percent(self.value, 0)}%{self._unknown}"
        decimals = 1 if self.high - self.low < 2 * FINE_INTERVAL else 0
        low, high = _percent(self.low, decimals), _percent(self.high, decimals)
        return f"{_percent(self.value, decimals)}% [{low}, {high}]"

    def as_number(self) -> str:
        """Return "12.3 [11.8, 12.8]"."""
        if self.low is None or self.high is None:
            return number(self.value) + self._unknown
        return f"{number(self.value)} [{number(self.low)}, {number(self.high)}]"

    @property
    def _unknown(self) -> str:
        return "" if self.exact else " (error not known)"


@dataclass(frozen=True)
class Quantity:
    """What is said about a figure, wherever it is shown.

    Attributes:
        title: what it is called, as within a sentence.
        what: what it tells, in a sentence.
        caution: what it does not tell, in a sentence.
        unit: of its values; "" where there is none to name.
        share: whether it is written in percent.
        exact: whether it has no error: a count, or what the sizes alone decide.
        depends_on: settings that move it by themselves: where they differ, two audits do not compare in it.
        compared: whether it has a row where two audits are compared.
        error_key: key of its error in audit.json; "": "<its own key>_error".
    """

    title: str
    what: str = ""
    caution: str = ""
    unit: str = ""
    share: bool = False
    least: float = -math.inf
    most: float = math.inf
    exact: bool = False
    depends_on: tuple[str, ...] = ()
    compared: bool = True
    error_key: str = ""

    @property
    def label(self) -> str:
        """Title with unit, as within a sentence."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def read(self, value: object, error: object) -> Measured | None:
        """Return the figure from what a file holds, None where that is no finite number."""
        known = finite(value)
        return None if known is None else Measured(known, finite(error), self.least, self.most, self.exact)


@dataclass(frozen=True)
class Setting:
    """What is said about a setting of an audit, its title as within a sentence.

    Attributes:
        moves: what of two audits does not compare where it differs; "" where that is nothing by itself.
    """

    title: str
    moves: str = ""


def figure(title: str, what: str = "", caution: str = "", *, default: Any = None, **about: Any) -> Any:
    """Return the field of a figure; further arguments are those of `Quantity`."""
    return field(default=default, metadata={"figure": Quantity(title, what, caution, **about)})


def setting(title: str, moves: str = "") -> Any:
    """Return the field of a setting."""
    return field(default=None, metadata={"setting": Setting(title, moves)})


class MissingFigureError(LookupError):
    """A figure that the audit does not have."""


def needed(found: T | None) -> T:
    """Return a figure that a question cannot be put without; MissingFigureError where it was not measured."""
    if found is None:
        raise MissingFigureError
    return found


@dataclass(frozen=True)
class Record:
    """A part of audit.json. A measured number stands there beside its error: "batch" and "batch_error"."""

    @classmethod
    def from_json(cls: type[R], found: object) -> R:
        """Return the record of what a file holds, which may be anything."""
        record = mapping(found)
        return cls(**{name: _read(name, hint, about, record) for name, (hint, about) in _layout(cls).items()})

    def to_json(self) -> Any:
        """Return what a file holds: null for numbers that are not finite, and for a record without any figure."""
        if self == type(self)():
            return None
        written: dict[str, Any] = {}
        for name, (hint, about) in _layout(type(self)).items():
            value = getattr(self, name)
            if hint == Measured | None and about is not None:
                written |= _with_error(about, name, value)
            else:
                written[name] = _plain(value)
        return written

    def measured(self) -> list[tuple[str, Quantity, Measured]]:
        """Return the measured numbers that are known, each with its key and what is said about it, in reading order."""
        found = [(name, about, getattr(self, name)) for name, about in described(type(self)).items()]
        return [(name, about, value) for name, about, value in found if isinstance(value, Measured)]


@dataclass(frozen=True)
class ByName(Record):
    """Measured numbers that are a record each in the file: a name, a value, an error."""

    others: Mapping[str, Measured] = field(default_factory=dict, kw_only=True)
    """Those that have no field here, as in the file of a later version."""

    @classmethod
    def read_entries(cls: type[N], entries: Iterable[tuple[str, object]]) -> N:
        """Return the numbers of (name, entry) pairs, cut to what is possible."""
        known, found = described(cls), dict[str, Measured]()
        for name, entry in entries:
            about = known.get(name, Quantity(name))
            read = about.read(mapping(entry).get("value"), mapping(entry).get("error"))
            if read is not None:
                found[name] = replace(read, value=min(max(read.value, about.least), about.most))
        others = {name: found.pop(name) for name in list(found) if name not in known}
        return cls(**found, others=others)

    def written_entries(self) -> dict[str, dict[str, float | None]]:
        """Return value and error by name, null where they are not finite."""
        return {name: {"value": finite(one.value), "error": finite(one.error)} for name, _, one in self.measured()}

    def measured(self) -> list[tuple[str, Quantity, Measured]]:
        """Return the numbers that are known, those without a field last."""
        known, others = super().measured(), self.others.items()
        return [*known, *((name, Quantity(name.replace("_", " "), compared=False), value) for name, value in others)]


_LAYOUTS: dict[type[Record], dict[str, tuple[Any, Quantity | None]]] = {}
_DESCRIBED: dict[type[Record], dict[str, Quantity]] = {}


def _layout(kind: type[Record]) -> dict[str, tuple[Any, Quantity | None]]:
    """Type of each field of a record, and what is said about it; kept, because looking it up is slower than reading."""
    if kind not in _LAYOUTS:
        hints = get_type_hints(kind)
        _LAYOUTS[kind] = {one.name: (hints[one.name], one.metadata.get("figure")) for one in fields(kind)}
    return _LAYOUTS[kind]


def described(kind: type[Record]) -> dict[str, Quantity]:
    """Return what is said about the figures of a kind of record, by key, in reading order."""
    if kind not in _DESCRIBED:
        _DESCRIBED[kind] = {name: about for name, (_, about) in _layout(kind).items() if about is not None}
    return _DESCRIBED[kind]


SAMPLE = ("num_images", "num_views", "num_features")
"""What figures depend on that are biased by the number of samples and views."""
SIZES = ("num_images", "num_features")
"""The same for what is taken from one view of each sample."""
OF_LOSS = ("width", "redundancy_weight", "normalization")
"""What every loss depends on."""
OF_BEST = (*SAMPLE, *OF_LOSS)
"""What the best linear projector depends on."""
OF_PARTS = (*OF_BEST, "batch_size")
FLOOR = "floor of a batch"


@dataclass(frozen=True)
class About(Record):
    """What was audited, and with which versions."""

    name: str = ""
    kind: str = ""
    data: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def views(self) -> str:
        """Name of the pipelines, "" where nobody says it."""
        return _word(self.recipe.get("views"))

    @property
    def projector(self) -> str:
        """Widths of the projector as a recipe has them, "" where nobody says them."""
        return _word(self.recipe.get("projector"))


@dataclass(frozen=True)
class Settings(Record):
    """What the figures depend on, as it came to be used; see `AuditSettings` for what is asked for."""

    num_images: Number | None = setting("samples", "the null edge, the plug-in spectrum, RankMe and LiDAR move with it")
    num_views: Number | None = setting(
        "views of each sample", "the null edge, the plug-in spectrum and LiDAR move with it"
    )
    num_features: Number | None = setting("features of the backbone (d)", "ranks and the null edge count in it")
    width: Number | None = setting("outputs of the projector (D)", "the losses are sums over them")
    redundancy_weight: Number | None = setting("redundancy weight (λ)", "it is part of the losses and of the waterline")
    batch_size: Number | None = setting("batch size (N)", "the loss of a batch, its floor and its noise move with it")
    normalization: str | None = setting("normalisation of the loss", "the losses are different ones")
    num_available: Number | None = setting("samples that there are")
    seed: Number | None = setting("seed of the views")
    exact: bool | None = setting("all views enumerated")
    seconds: Number | None = setting("time of the audit")


SETTINGS: Mapping[str, Setting] = {one.name: one.metadata["setting"] for one in fields(Settings)}
"""What is said about each setting, by its key."""


# fmt: off
@dataclass(frozen=True)
class Quantities(ByName):
    """What needs no label, the most telling first: the order of the page, and of a comparison."""

    augmentation_share: Measured | None = figure(
        "augmentation share of the features",
        "Share of the variance of the backbone's features that comes from the augmentation, not from the sample.",
        "Lower is not always better: a network that sees next to nothing has a low share as well.",
        share=True, least=0.0, most=1.0,
    )
    augmentation_share_z: Measured | None = figure(
        "augmentation share of the projector output",
        "The same share behind the projector, where the loss is computed.",
        "The loss pushes it down by itself; it says little about the backbone, which is what is used afterwards.",
        share=True, least=0.0, most=1.0, depends_on=("width",),
    )
    mean_correlation: Measured | None = figure(
        "mean intraclass correlation",
        "The invariance spectrum averaged over all directions: 1, every direction knows only the sample.",
        "Faint directions count as much as strong ones, so many useless ones pull it down.",
        least=0.0, most=1.0, depends_on=SAMPLE,
    )
    view_information: Measured | None = figure(
        "information between two views",
        "What one view of a sample tells about another view of it, for features that are about Gaussian.",
        "It does not ask whether the information is of use. Without an interval it is a lower bound: some directions "
        "are too invariant for so many samples to tell.",
        unit="nats", least=0.0, depends_on=SAMPLE,
    )
    null_edge: Measured | None = figure(
        "null edge",
        "Highest intraclass correlation that so few samples show when the features know nothing of the sample.",
        "Set by the numbers of samples, views and features alone.",
        least=0.0, most=1.0, exact=True, compared=False,
    )
    num_above_edge: Measured | None = figure(
        "directions above the null edge",
        "Directions that are proven to know something of the sample.",
        "More samples prove more directions, in the same network.",
        least=0.0, exact=True, depends_on=SAMPLE,
    )
    effective_rank: Measured | None = figure(
        "effective rank",
        "Number of equally strong directions that would spread the variance as evenly.",
        "An untrained network can have more than a good one.",
        least=0.0, depends_on=("num_features",),
    )
    participation_ratio: Measured | None = figure(
        "participation ratio",
        "Another such count, which gives faint directions less weight.",
        "As the effective rank; it is mostly a count of the few strongest.",
        least=0.0, depends_on=("num_features",),
    )
    rank_me: Measured | None = figure(
        "RankMe",
        "Such a count again, from uncentred features: the mean is one more direction.",
        "Its authors use it between runs of one method only; random networks can score high.",
        least=0.0, depends_on=SIZES,
    )
    lidar: Measured | None = figure(
        "LiDAR",
        "Number of directions in which samples differ clearly beside their augmentations.",
        "A few very invariant directions make it small however good the others are.",
        least=0.0, depends_on=SAMPLE,
    )
    rank: Measured | None = figure(
        "rank",
        "Number of directions in which the features vary at all.",
        "It counts directions however faint; noise alone makes it as large as it can be.",
        least=0.0, exact=True, depends_on=("num_features",),
    )
    condition_number: Measured | None = figure(
        "condition number",
        "Variance of the strongest direction over that of the weakest: the larger, the slower a projector learns.",
        "A matter of training speed, not of what the features know.",
        least=1.0, depends_on=SIZES,
    )
    alpha: Measured | None = figure(
        "decay exponent of the spectrum (alpha-ReQ)",
        "How fast the variances of the directions fall, as a power of their rank; near 1 is said to be good.",
        "The ranks it is fitted to move it more than most trainings do. Without an interval no power law fits.",
        depends_on=SIZES,
    )
    alpha_r_squared: Measured | None = figure(
        "fit of the power law (R²)",
        "Share of the decay that the power law explains.",
        "Clearly below 1, the exponent above means nothing.",
        least=0.0, most=1.0, compared=False,
    )
    alignment: Measured | None = figure(
        "alignment",
        "Mean squared distance of two views of a sample, features scaled to length 1; 0 is perfect.",
        "A constant network is perfect; read it with the uniformity.",
        least=0.0, most=4.0, depends_on=("width",),
    )
    uniformity: Measured | None = figure(
        "uniformity",
        "How evenly features of length 1 cover the sphere; the more negative, the more evenly.",
        "Noise covers it best; read it with the alignment.",
        most=0.0, depends_on=("num_features", "width"),
    )
    asymmetry: Measured | None = figure(
        "asymmetry of C",
        "How far the cross-correlation of the two views is from being symmetric.",
        "With few samples it is large by chance: compare it with the next line.",
        share=True, least=0.0, most=2.0, compared=False,
    )
    asymmetry_expected: Measured | None = figure(
        "asymmetry expected by chance",
        "What so many samples show when both views come from one pipeline.",
        "A yardstick, not a property of the network.",
        share=True, least=0.0, compared=False,
    )
    asymmetry_z: Measured | None = figure(
        "asymmetry beyond chance",
        "The difference of the two in standard deviations; above about 3 the pipelines of the views differ.",
        "It grows with the number of samples, also for a difference too small to matter.",
        unit="z-score", compared=False,
    )
    skew_share: Measured | None = figure(
        "asymmetric part of C (skew share)",
        "Part of C that different pipelines make asymmetric.",
        "Not a fault: many recipes want different pipelines. It limits which closed forms hold.",
        share=True, least=0.0, most=1.0, depends_on=("batch_size",),
    )

    view_index_share: Measured | None = figure(
        "index of the view",
        "Share of what views of a sample differ in that is which view it is: 0 where all are drawn alike.",
        "Not a fault where pipelines are meant to differ in colour or size.",
        share=True, least=0.0, most=1.0, compared=False,
    )
    view_scale: Measured | None = figure(
        "scale of one view over another",
        "Standard deviation of the features of one view over that of another: 1 where all are drawn alike.",
        "Not a fault where pipelines are meant to differ.",
        least=1.0, compared=False,
    )
    duplicates: Measured | None = figure(
        "copies among the samples",
        "Share of the samples whose features another sample has as well.",
        "Copies with other views are found by a network only, not among features that exist already.",
        share=True, least=0.0, most=1.0, exact=True, compared=False,
    )
    error_factor: Measured | None = figure(
        "factor by which copies make errors too small",
        "How many times larger errors would be if copies were counted once.",
        "Only of copies that were found.",
        least=1.0, exact=True, compared=False,
    )

    @classmethod
    def from_json(cls, found: object) -> "Quantities":
        """Return the quantities of {name: {value, error}}."""
        return cls.read_entries(mapping(found).items())

    def to_json(self) -> Any:
        """Return {name: {value, error}}."""
        return self.written_entries()


# fmt: on


@dataclass(frozen=True)
class Range(Record):
    """A count with its interval."""

    value: Number | None = None
    low: Number | None = None
    high: Number | None = None


LARGEST = Quantity("largest correlation", least=0.0, most=1.0, depends_on=SAMPLE)
"""The first of the plug-in correlations."""


@dataclass(frozen=True)
class Spectrum(Record):
    """The invariance spectrum, plug-in and cross-fit, and what the best linear projector uses.

    `low` and `high` are the range of each correlation; two of its errors reach the farther end.
    """

    plug_in: Sequence[float] = ()
    error: Sequence[float] = ()
    cross_fit: Sequence[float] = ()
    cross_fit_error: Sequence[float] = ()
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    edge: Number | None = None
    num_above_edge: Number | None = None
    between_rank: Range = Range()
    num_directions: Number | None = None
    eigenvalues: Sequence[float] = ()
    budget: Sequence[float] = ()
    num_active: Measured | None = figure("outputs used at the optimum", depends_on=OF_BEST)
    num_active_cross_fit: Measured | None = figure("outputs used at the optimum (cross-fit)", compared=False)
    num_active_range: Range = Range()
    waterline: Measured | None = figure("waterline", depends_on=OF_BEST)
    waterline_cross_fit: Measured | None = figure("waterline (cross-fit)", compared=False)
    waterline_range: Range = Range()

    @property
    def largest(self) -> Measured | None:
        """The largest plug-in correlation."""
        return LARGEST.read(self.plug_in[0], self.error[0] if self.error else None) if self.plug_in else None


@dataclass(frozen=True)
class LossParts(ByName):
    """What adds up to the loss of a batch."""

    floor: Measured | None = figure(
        FLOOR,
        "No network goes below it with this batch size, width and redundancy weight.",
        depends_on=OF_PARTS,
    )
    backbone_limit: Measured | None = figure(
        "best linear projector above that floor",
        "What the best linear projector has to leave on these features; one with hidden layers may go below. Below 0: "
        "over all data the features allow less than the floor of a single batch.",
        depends_on=OF_PARTS,
    )
    projector_gap: Measured | None = figure(
        "projector gap",
        "What this projector leaves beyond the best linear one. Below 0: its hidden layers do better than any "
        "linear one, or it uses directions that were not looked at.",
        depends_on=OF_PARTS,
    )
    sampling_bias: Measured | None = figure(
        "sampling bias",
        "What chance correlations in a finite batch add; it falls with the batch size, whatever the network.",
        depends_on=OF_PARTS,
    )

    @classmethod
    def from_json(cls, found: object) -> "LossParts":
        """Return the parts of [{name, value, error}]."""
        entries = [mapping(entry) for entry in _sequence(found)]
        return cls.read_entries((_word(entry.get("name")).replace(" ", "_"), entry) for entry in entries)

    def to_json(self) -> Any:
        """Return [{name, value, error}]."""
        return [{"name": name.replace("_", " "), **entry} for name, entry in self.written_entries().items()]


@dataclass(frozen=True)
class Loss(Record):
    """The loss of a batch taken apart; complete losses are over all pairs of views, without the bias of a sample."""

    normalization: str = ""
    num_pairs: Number | None = None
    complete: Measured | None = figure("complete loss", least=0.0, depends_on=OF_LOSS)
    start: Measured | None = figure("complete loss before training", least=0.0, compared=False)
    fall: Measured | None = figure("fall of the complete loss", share=True, most=1.0, compared=False)
    limit: Measured | None = figure("least loss of a linear projector", least=0.0, depends_on=OF_BEST)
    limit_cross_fit: Measured | None = figure("least loss of a linear projector (upper end)", least=0.0, compared=False)
    batch: Measured | None = figure("loss of a batch", least=0.0, depends_on=(*OF_LOSS, "batch_size"))
    batch_measured_at: Number | None = None
    floor: Measured | None = figure(FLOOR, exact=True, depends_on=(*OF_LOSS, "batch_size"))
    parts: LossParts = LossParts()


@dataclass(frozen=True)
class Reached(Record):
    """How low the loss gets when only a projector is fitted, and which share of the fall that is."""

    loss: Number | None = None
    share: Measured | None = figure("share of the fall", share=True, error_key="error")


@dataclass(frozen=True)
class ProjectorShare(Record):
    """How much of the fall of the loss a projector alone reaches on the untrained backbone."""

    start: Number | None = None
    end: Number | None = None
    linear: Reached = figure("a linear projector", default=Reached(), share=True, depends_on=OF_PARTS)
    mlp: Reached = figure("a projector with a hidden layer", default=Reached(), share=True, depends_on=OF_PARTS)

    def reached(self) -> list[tuple[str, Quantity, Reached]]:
        """Return what each projector reaches, with its key and its name."""
        return [(name, about, getattr(self, name)) for name, about in described(ProjectorShare).items()]


@dataclass(frozen=True)
class BatchFloor(Record):
    """The floor of a batch at one x."""

    x: Number | None = None
    batch: Number | None = figure("one batch")


@dataclass(frozen=True)
class Floor(BatchFloor):
    """Lowest losses at one x."""

    raw: Number | None = figure("no normalisation")
    pearson: Number | None = figure("this backbone")


@dataclass(frozen=True)
class Floors(Record):
    """Lowest losses against each setting that they depend on."""

    width: Sequence[Floor] = figure(
        "lowest loss by width",
        "More outputs than there are directions can only be copies, and copies cost.",
        default=(),
    )
    redundancy_weight: Sequence[Floor] = figure(
        "lowest loss by redundancy weight",
        "The larger the weight, the more a copy costs, and the more directions are used.",
        default=(),
    )
    batch_size: Sequence[BatchFloor] = figure(
        "lowest loss by batch size",
        "A batch has one direction less than samples: a larger one lowers what it can show.",
        default=(),
    )


@dataclass(frozen=True)
class Advice(Record):
    """The smallest lambda and the largest D at which the best linear projector uses all it can."""

    redundancy_weight_for_all: Number | None = None
    width_for_all: Number | None = None


@dataclass(frozen=True)
class Effect(Record):
    """What one transform of the pipeline does to the features."""

    name: str = ""
    transform: str = ""
    view: str = ""
    total_effect: Measured | None = figure(
        "effect in context",
        "How much of the variance of the features moves when only this augmentation is drawn anew and the others stay "
        "as they are: shorter is more invariant.",
        unit="of all variance",
        share=True,
        least=0.0,
        most=1.0,
    )
    marginal: Measured | None = figure(
        "effect alone",
        "This augmentation on an otherwise untouched sample: at 100% it moves the sample as far as to another sample.",
        unit="of the distance between samples",
        share=True,
    )
    first_order: Number | None = None
    num_images: Number | None = None
    curve: Sequence[Sequence[float]] = ()


@dataclass(frozen=True)
class Direction(Record):
    """One of the most invariant directions of the features, and the transform that it still follows most."""

    correlation: Number | None = None
    transform: str = ""
    share: Measured | None = figure("of its variance", share=True, error_key="error")


@dataclass(frozen=True)
class Layer(Record):
    """How invariant one layer is."""

    name: str = ""
    num_features: Number | None = None
    augmentation_share: Measured | None = figure(
        "augmentation share", unit="of the variance", share=True, error_key="error"
    )
    mean_correlation: Measured | None = figure("feature correlation", compared=False)
    effective_rank: Number | None = figure("effective rank, one view", compared=False)


Level = Literal["warning", "note", "good"]
"""In the order in which verdicts are read."""


@dataclass(frozen=True)
class Verdict(Record):
    """What the figures say about one question.

    Attributes:
        name: of the question, such as "batch_floor".
        level: "warning": something to change; "note": how to read the figures; "good": nothing to change.
        sentence: what was found, with number and interval.
        low: lower end of the interval; None for closed forms and counts, as `high`.
        advice: what to try next.
    """

    name: str = ""
    level: Level = "note"
    sentence: str = ""
    value: float = math.nan
    low: float | None = None
    high: float | None = None
    advice: str = ""

    @classmethod
    def of(cls, name: str, level: Level, found: Measured, sentence: str, advice: str) -> "Verdict":
        """Return a verdict about a measured number."""
        return cls(name, level, sentence, found.value, found.low, found.high, advice)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return dict(self.to_json())


@dataclass(frozen=True)
class Figures(Record):
    """Everything that an audit found: the content of audit.json."""

    subject: About = About()
    settings: Settings = Settings()
    warnings: Sequence[str] = ()
    quantities: Quantities = Quantities()
    spectrum: Spectrum = Spectrum()
    loss: Loss = Loss()
    projector_share: ProjectorShare = ProjectorShare()
    floors: Floors = Floors()
    advice: Advice = Advice()
    augmentations: Sequence[Effect] = ()
    directions: Sequence[Direction] = ()
    layers: Sequence[Layer] = ()
    verdicts: Sequence[Verdict] = ()


@dataclass(frozen=True)
class Change:
    """One figure in two audits.

    Attributes:
        group: "quantity", "spectrum", "loss", "augmentation" or "layer".
        name: as in the figures for quantities; else with its kind before it, as in "layer z" or "loss complete".
        title: what it is called, as within a sentence.
        share: whether it is written in percent.
        difference: b - a.
        error: standard error of the difference; None where one of the two has none.
        significant: whether the difference is beyond 2 errors; None where its error is not known.
        fair: False where settings differ that move this figure by themselves.
    """

    group: str
    name: str
    title: str
    share: bool
    a: float
    b: float
    difference: float
    error: float | None
    significant: bool | None
    fair: bool


@dataclass(frozen=True)
class Changes:
    """What changed between two audits.

    Attributes:
        rows: every figure that both have.
        sentences: what forbids comparing, then what changed, the most important first.
    """

    rows: tuple[Change, ...]
    sentences: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return rows and sentences as JSON has them."""
        return {"rows": [asdict(row) for row in self.rows], "sentences": list(self.sentences)}


def finite(value: object) -> float | None:
    """Return `value` as a float when it is a finite number, else None: JSON may hold null, NaN or text."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def mapping(value: object) -> Mapping[str, Any]:
    """Return `value` when it is a mapping, else an empty one."""
    return cast(Mapping[str, Any], value) if isinstance(value, Mapping) else {}


def _sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""


def _numbers(value: object) -> tuple[float, ...]:
    """The numbers at the head of a list, up to the first entry that is none."""
    found = itertools.takewhile(lambda one: one is not None, map(finite, _sequence(value)))
    return tuple(one for one in found if one is not None)


_READERS: Mapping[Any, Callable[[object], Any]] = {
    float: lambda value: math.nan if (known := finite(value)) is None else known,
    float | None: finite,
    Number | None: finite,
    bool | None: lambda value: value if isinstance(value, bool) else None,
    str: _word,
    str | None: lambda value: _word(value) or None,
    Level: lambda value: value if value in get_args(Level) else "note",
    Sequence[float]: _numbers,
    Sequence[Sequence[float]]: lambda value: tuple(map(_numbers, _sequence(value))),
    Sequence[str]: lambda value: tuple(str(one) for one in _sequence(value) if one not in (None, "")),
    Mapping[str, Any]: mapping,
}
"""How a field of each type is read."""


def _read(name: str, hint: Any, about: Quantity | None, record: Mapping[str, Any]) -> Any:
    value = record.get(name)
    if hint == Measured | None and about is not None:
        return about.read(value, None if about.exact else record.get(about.error_key or f"{name}_error"))
    if isinstance(hint, type) and issubclass(hint, Record):
        return hint.from_json(value)
    (entry, *_) = get_args(hint) or (None,)
    if isinstance(entry, type) and issubclass(entry, Record):
        return tuple(known for one in _sequence(value) if (known := entry.from_json(one)) != entry())
    return _READERS[hint](value)


def _with_error(about: Quantity, name: str, value: Measured | None) -> dict[str, float | None]:
    found = {name: None if value is None else finite(value.value)}
    if not about.exact:
        found[about.error_key or f"{name}_error"] = None if value is None else finite(value.error)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, float):
        return finite(value)
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def _percent(share: float, decimals: int) -> str:
    return number(round(100.0 * share, decimals), 12)
