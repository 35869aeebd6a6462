"""The help of a command: its flags in groups, first what a newcomer needs; names whole, also in 80 columns."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import MISSING
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from barlow.cli.mistakes import usage
from barlow.cli.words import Flag, flags_of

FIRST = "what most people need"
OTHERS = "more"
SETTINGS = {"Machine": "the machine", "AuditSettings": "how it is measured", "SegmentSettings": "how it is fine-tuned"}
"""Titles of the flags of a dataclass that is part of several commands."""
PRETRAIN: dict[str, tuple[str, ...]] = {
    FIRST: ("out", "minutes", "epochs", "recipe", "backbone", "image_size", "pretrained", "labels"),
    "a run that goes on, or starts from another": ("resume", "moved_to", "start_from"),
    "the data": (
        "data_root", "download", "hold_out", "white_level", "channels_axis", "fit", "modality", "modality_options",
    ),
    "views and network": (
        "views", "width", "stem", "zero_init", "projector", "projector_norm", "projector_activation", "projector_bias",
    ),
    "the loss": ("method", "redundancy_weight", "normalization", "options"),
    "the optimisation": (
        "batch_size", "optimizer", "learning_rate", "bias_learning_rate", "weight_decay", "warmup_epochs",
        "warmup_start", "final_learning_rate", "momentum", "lars_trust", "lars_clip", "exclude_biases",
        "constant_part", "clip_norm", "accumulate",
    ),
    "the machine": (
        "devices", "num_nodes", "shard", "accelerator", "precision", "channels_last", "seed", "checkpoint_minutes",
        "tensorboard", "quiet",
    ),
    "what the recipe says of itself": ("name", "source", "published"),
}  # fmt: skip
"""Flags of `pretrain` by group; one that is in none of them comes under `OTHERS`."""
GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "pretrain": PRETRAIN,
    "sequence": {FIRST: ("keep", "keep_options", "out", "baselines", "hold_out"), **PRETRAIN},
    "compare": {FIRST: ("recipes", "seeds", "minutes", "images", "out")},
    "evaluate": {
        FIRST: ("moved_to", "labels", "hold_out", "keep", "seconds"),
        "the papers' protocols": ("protocol", "sgd_linear", "augmented", "finetune"),
        "speakers": ("verify", "trials", "snr", "noise"),
    },
    "audit": {FIRST: ("out", "views", "moved_to")},
    "segment": {FIRST: ("out", "labels", "table")},
    "embed": {FIRST: ("out", "moved_to"), "recordings": ("window", "hop")},
    "study": {FIRST: ("quick", "data", "data_root", "seeds", "out")},
}


def print_help(kind: type, default: Any = MISSING) -> None:
    """Print what a command does, how it is typed, and its flags; with `default` the numbers that would be used."""
    command = kind.__name__.lower()
    console = Console(highlight=False)
    flags = flags_of(kind, default)
    words = [flag for flag in flags if not flag.name.startswith("--")]
    console.print(Text(f"usage: {usage(command, flags)} [--flag value ...]"))
    console.print(Text(f"\n{inspect.getdoc(kind)}"))
    if words:
        _print_flags(console, "", words)
    for title, group in grouped(command, [flag for flag in flags if flag.name.startswith("--")]):
        _print_flags(console, title, group)


def grouped(command: str, flags: Sequence[Flag]) -> Iterator[tuple[str, list[Flag]]]:
    """Yield every flag once, under the title of its group, in the order in which a person needs them."""
    groups = GROUPS.get(command, {})
    left = {flag.field: flag for flag in flags}
    for title, names in groups.items():
        group = [left.pop(name) for name in names if name in left]
        if group:
            yield title, group
    if not groups:  # few flags: one list
        yield "", list(left.values())
        return
    for title in dict.fromkeys(SETTINGS.get(flag.home, OTHERS) for flag in left.values()):
        yield title, [flag for flag in left.values() if SETTINGS.get(flag.home, OTHERS) == title]


def _print_flags(console: Console, title: str, flags: Sequence[Flag]) -> None:
    if not flags:
        return
    console.print(Text(f"\n{title}:" if title else "", style="bold"))
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    for flag in flags:
        table.add_row(Text(f"  {_typed(flag)}"), Text(_said(flag)))
    console.print(table)


def first_sentence(kind: type) -> str:
    """Return what a command does, in one sentence."""
    return " ".join((inspect.getdoc(kind) or "").split()).partition(". ")[0].rstrip(".")


def _typed(flag: Flag) -> str:
    if flag.is_switch:
        return f"--[no-]{flag.name.removeprefix('--')}"
    return f"{flag.name} {flag.takes}" if flag.name.startswith("--") else flag.name


def _said(flag: Flag) -> str:
    """Its help, its words and its default."""
    words = f" One of {', '.join(flag.choices)}." if flag.choices else ""
    if flag.default is MISSING or flag.default in ("", None, {}, ()):
        return f"{flag.says}{words}"
    value = " ".join(map(str, flag.default)) if isinstance(flag.default, tuple) else flag.default
    value = {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
    return f"{flag.says}{words} (default: {value})"
