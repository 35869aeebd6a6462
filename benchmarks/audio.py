"""Audio Barlow Twins on spoken digits whose voices are held out: the targets, the augmentations one by one, and BYOL-A.

    python benchmarks/audio.py --data-root ../shared/data
    python benchmarks/audio.py --data-root ../shared/data --parts targets byol views more --more prompts/

Free Spoken Digit Dataset, george and lucas held out: 2,000 clips of four voices to learn from, 1,000 to test on. Probes
are logistic regression whose penalty is chosen by leaving voices of the four out. 10 and 5 labels per digit are means
over five draws, the same ones for every kind of features. `all` pretrains on the clips of all six voices, without
labels. `more` adds a folder of other recordings to the unlabelled ones. Every cell is kept under
benchmarks/runs/audio/, and the same command goes on where it stopped.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import barlow
from barlow.audio.data.load import load_clips
from barlow.audio.modality import AUDIO
from barlow.data.labels import UNLABELLED
from barlow.data.subsets import relabelled
from barlow.evaluation.features import Features, extract
from barlow.evaluation.linear import few_label_accuracy, fit_linear_probe
from barlow.evaluation.scores import LabelledParts, calibrate, parts_by_groups
from barlow.evaluation.splits import few_label_draws, validation_split
from barlow.modalities import load_samples
from barlow.recipes import recipe_for
from barlow.runs.build import untrained_backbone
from barlow.seams import Source
from barlow.studies.cells import Cell, Finished, compute_cells, read_cells

PATTERN, HELD_OUT = "{label}_{group}_*", "group=george,lucas"
DRAWS = 5
SHORT_EPOCHS = 6.7
"""A hundred steps, for the augmentations one by one."""
VIEWS = ("plain", "fader", "shift", "noise", "mixup", "crop", "mixup+crop", "audio")
TARGETS = {"10 labels": (0.55, 0.12), "5 labels": (0.50, 0.13), "all labels": (0.0, 0.06)}
"""The least accuracy, and the least distance from the untrained network, both as means over seeds."""
TARGET_OF_ALL = 0.10
"""Distance from untrained with all labels, where the voices held out were heard without labels."""
MOST_SECONDS = 60.0


def parts_of(root: str) -> tuple[Source, LabelledParts]:
    """Return all clips, and those of four voices to fit on with those of two to test on."""
    recipe = recipe_for("audio-small")
    source = load_samples(AUDIO, Path(root) / "fsdd" / "recordings", labels=PATTERN, recipe=recipe)
    parts = parts_by_groups(source, HELD_OUT)
    assert parts is not None
    return source, parts


def scores(train: Features, test: Features) -> dict[str, float]:
    """Return accuracies with all labels, and with 10 and 5 per digit."""
    assert train.labels is not None
    assert test.labels is not None
    split = validation_split(train.labels, fraction=0.2, most=5000, seed=0, groups=train.groups)
    found = {"all labels": fit_linear_probe(train.h, train.labels, split).accuracy(test.h, test.labels)}
    for number in (10, 5):
        draws = few_label_draws(train.labels, per_class=number, draws=DRAWS, seed=0)
        few = few_label_accuracy(train.h, train.labels, test.h, test.labels, draws, groups=train.groups)
        found[f"{number} labels"] = few.mean
    return found


def evaluated(
    represent: Callable[[Any], Tensor], parts: LabelledParts, plain: Callable[[Any], Any]
) -> dict[str, float]:
    """Return the scores of one kind of features, in evaluation mode."""
    return scores(*(extract(represent, part, plain=plain) for part in (parts.train, parts.test)))


def learnt(
    work: Path, *, recipe: str, views: str, epochs: float, seed: int, heard: str, data_root: str, more: str
) -> dict[str, Any]:
    """Pretrain with one seed and evaluate, beside the untrained network."""
    source, parts = parts_of(data_root)
    learns = _joined(source if heard == "six" else parts.train, more)
    made = replace(recipe_for(recipe, otherwise="audio-small"), seed=seed)
    made = replace(made, views=views or made.views, epochs=epochs or made.epochs)
    run = barlow.pretrain(
        relabelled(learns, UNLABELLED), recipe=made, modality="audio", out=work, machine=barlow.Machine(quiet=True)
    )
    if not run.finished:
        raise KeyboardInterrupt
    timing, began = run.summary["timing"], time.perf_counter()
    twin = calibrate(untrained_backbone(AUDIO, run.recipe, run.facts), parts.train, run.views.plain)
    found = {
        name: evaluated(net, parts, run.views.plain) for name, net in (("trained", run.backbone), ("untrained", twin))
    }
    return {**found, "pretrain_seconds": timing["pretrain_seconds"], "evaluation_seconds": time.perf_counter() - began}


def bars(work: Path, *, data_root: str) -> dict[str, Any]:
    """Evaluate the raw log-mels."""
    _, parts = parts_of(data_root)
    facts = {"modality": "audio", **AUDIO.facts(parts.train)}
    assert AUDIO.views is not None
    plain = AUDIO.views(recipe_for("audio-small"), facts).plain
    return {name: evaluated(features, parts, plain) for name, features in AUDIO.bars.items()}


def _joined(source: Source, more: str) -> Source:
    """The clips of a source, and those of a folder read in the same way."""
    if not more:
        return source
    reading = getattr(source, "reading", {})
    others = load_clips(more, facts=reading)
    clips = [batch.samples for one in (source, others) for batch in one.batches(range(len(one)), 512)]
    both = torch.cat(clips)
    return barlow.ArraySource(both, name=f"{source.name}+{others.name}", reading=reading)


def cells_of(part: str, seeds: Sequence[int], root: str, more: str) -> list[Cell]:
    """Return the cells of a part of the benchmark."""

    def cell(name: str, seed: int, **changed: Any) -> Cell:
        asked = {"recipe": "audio-small", "views": "", "epochs": 0.0, "heard": "four", "more": ""} | changed
        return Cell(f"{name}-{seed}", learnt, {**asked, "seed": seed, "data_root": root})

    each: dict[str, Callable[[int], list[Cell]]] = {
        "targets": lambda seed: [cell("four", seed), cell("six", seed, heard="six")],
        "byol": lambda seed: [cell("byol", seed, recipe="byol-audio-small")],
        "views": lambda seed: [cell(f"views-{one}", seed, views=one, epochs=SHORT_EPOCHS) for one in VIEWS],
        "more": lambda seed: [cell("more", seed, more=more)],
    }
    cells = [one for seed in seeds for one in each[part](seed)]
    return [replace(one, name=one.name.replace("+", "-")) for one in cells]


def table(found: Sequence[Finished], raw: dict[str, Any]) -> list[str]:
    """Return rows: mean and standard deviation over seeds, in percent."""
    names = ("all labels", "10 labels", "5 labels")
    lines = ["| features | seeds | " + " | ".join(names) + " |", "|---|--:|" + "--:|" * len(names)]
    lines += [f"| {name} | | " + " | ".join(f"{100 * row[k]:.1f}" for k in names) + " |" for name, row in raw.items()]
    arms = dict.fromkeys(one.name.rpartition("-")[0] for one in found)
    for arm in arms:
        own = [one for one in found if one.name.rpartition("-")[0] == arm]
        for features in ("untrained", "trained"):
            cells = [_spread([one.metrics[features][name] for one in own]) for name in names]
            lines.append(f"| {arm}: {features} | {len(own)} | " + " | ".join(cells) + " |")
    return lines


def _spread(values: Sequence[float]) -> str:
    spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{spread}"


def verdicts(found: Sequence[Finished], raw: dict[str, Any]) -> list[str]:
    """Say which targets are met."""
    lines = []
    by_arm = {arm: [one for one in found if one.name.rpartition("-")[0] == arm] for arm in ("four", "six")}
    for arm, own in by_arm.items():
        for name, (least, above) in TARGETS.items():
            if not own or (arm == "six" and name != "all labels"):
                continue
            above = TARGET_OF_ALL if arm == "six" else above
            mean = partial(_mean, own, name)
            gain, best = mean("trained") - mean("untrained"), max(row[name] for row in raw.values())
            met = "met" if mean("trained") >= least and gain >= above else "missed"
            wanted = f"wanted {above:.2f} above untrained" + (f" and at least {least:.2f}" if least else "")
            measured = f"{mean('trained'):.3f}, {gain:+.3f} to untrained, best raw bar {best:.3f}"
            lines.append(f"{arm}, {name}: {measured}; {wanted}: {met}")
        seconds = [one.metrics["pretrain_seconds"] for one in own]
        if seconds:
            slow = max(seconds)
            lines.append(f"{arm}: training took at most {slow:.0f} s, wanted {MOST_SECONDS:.0f} on one idle core")
    return lines


def _mean(own: Sequence[Finished], name: str, features: str) -> float:
    return float(statistics.mean(one.metrics[features][name] for one in own))


def main() -> None:
    """Compute what is missing, print tables and verdicts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--parts", nargs="+", default=["targets"], choices=["targets", "byol", "views", "more"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--more", default="", help="a folder of other recordings, for the part of that name")
    parser.add_argument("--only-print", action="store_true", help="compute nothing")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "runs" / "audio")
    flags = parser.parse_args()
    raw = Cell("raw", bars, {"data_root": flags.data_root})
    cells = [one for part in flags.parts for one in cells_of(part, range(flags.seeds), flags.data_root, flags.more)]
    find = read_cells if flags.only_print else partial(compute_cells, jobs=1, quiet=True)
    found = find(flags.out, [raw, *cells])
    kinds = {one.name: one.metrics for one in found}
    rows = [one for one in found if one.name != "raw"]
    print("\n".join([*table(rows, dict(kinds["raw"])), "", *verdicts(rows, dict(kinds["raw"]))]))


if __name__ == "__main__":
    main()
