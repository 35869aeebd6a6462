"""The words of `barlow sequence`: data sets in their order, what keeps the first ones, the numbers of each stage."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from barlow.cli.flags import parse, refuse_names_of_others, typed_numbers
from barlow.recipes import Recipe, recipe_for
from barlow.training.machine import Machine

Baseline = Literal["none", "joint", "alone"]


@dataclass(frozen=True)
class Sequence:
    """Pretrain one network on data sets one after another, and see what it forgets. The same command again goes on.

    barlow sequence aerial/ nuclei/ --keep ewc --epochs 20 --out runs/stream
    """

    data: tyro.conf.Positional[tuple[str, ...]]
    """Two or more data sets as for pretrain, by name or path, in the order in which they are learned."""
    keep: Literal["none", "ewc", "distill", "replay"] = "none"
    """What keeps the network from forgetting: nothing; ewc: weights that mattered are held; distill: new embeddings
    have to tell those of the stage before; replay: a few samples of every stage come again."""
    keep_options: dict[str, int | float | str] = field(default_factory=dict)
    """Numbers of it: ewc: relative_weight 30, weight, mode last|online|separate, decay 1, batches 64;
    distill: weight 1, hidden 0; replay: samples 256, share 0.25."""
    recipe: str = ""
    """Start from these numbers (`barlow recipes`); empty: the recipe made for the first data set."""
    out: Path = Path("runs/sequence")
    """Folder of the sequence: a run folder for each stage, results.json and sequence.html."""
    baselines: tuple[Baseline, ...] = ("none", "joint", "alone")
    """What to train besides, for comparison: the same with nothing kept, all at once, each by itself; without a word
    after it: nothing. May be added later."""
    hold_out: float = 0.2
    """Share of each data set without a test split that is never learned from, to measure on."""
    data_root: Path | None = None
    """Folder of the data sets that go by a name."""
    white_level: int | float | None = None
    """The pixel value that is white: 1, 255, 4095, 65535; default: told from all values of each data set."""
    channels_axis: str = ""
    """Of arrays of images: first (1) or last (-1); empty: told by their shape."""
    modality: str = ""
    """FILE.py:NAME for a `barlow.Modality` of your own; empty: told by the first data set."""
    numbers: Annotated[Recipe, tyro.conf.arg(name="")] = field(default_factory=Recipe)
    machine: Annotated[Machine, tyro.conf.arg(name="")] = field(default_factory=Machine)


def parse_sequence(arguments: list[str]) -> tuple[Sequence, dict[str, Any]]:
    """Return the flags, and the fields of the recipe that were typed; help shows those of the first data set."""
    refuse_names_of_others(arguments)
    flags = parse(Sequence, [word for word in arguments if word not in ("-h", "--help")])
    made_for = recipe_for(flags.recipe or None, next(iter(flags.data), None))
    bare = replace(made_for, options={}, modality_options={})
    # Without the dictionary as a default, which would be other flags (--keep-options.mode) than one without.
    flags = parse(Sequence, arguments, replace(flags, numbers=bare, keep_options={}))
    return flags, typed_numbers(arguments, flags, Sequence)
