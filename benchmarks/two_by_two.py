"""Lightly's Barlow Twins and ours taken apart: {their views, ours} x {their head, ours}, one loop, as many pictures.

    python benchmarks/two_by_two.py --data-root ../shared/data         needs: pip install lightly

The table of `methods.py` gives equal time, so that speed, views and head are mixed. Here all four arms see the same
number of pictures in our loop (batch, AdamW, warm-up and cosine of our recipe), on the same backbone with the same
first weights, in the same order:

    views     theirs: BYOL transforms without blur, by two loader workers; ours: those of the recipe
    head      theirs: 2048-2048-2048 with its loss; ours: that of the recipe with ours

Printed for each figure, paired by seed with Student's 95% interval (`leads.py`): what our views add (mean over heads),
what our head adds (mean over views), and what they add together beyond both. Every arm of every seed is a file, all
of one seed before the next, so the same command goes on where it stopped, and prints what there is.
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from leads import Lead
from lightly_rival import LightlyBarlowTwins, LoadedPairs, Take, TwoViews, our_steps

from barlow.data.subsets import stratified_choice, subset
from barlow.evaluation.scores import labelled_parts, measure
from barlow.images.modality import IMAGES
from barlow.modalities import load_samples
from barlow.recipes import recipe_for
from barlow.runs.build import build_method, build_views, fitted, untrained_backbone
from barlow.seams import Source, Views, check_backbone
from barlow.studies.cells import Cell, Finished, Metrics, compute_cells, read_cells
from barlow.training.plan import steps_per_epoch

SIDES = ("theirs", "ours")
FIGURES = {"few_labels": "10 labels per class", "linear": "linear, all labels", "knn": "kNN"}


def cells_of(flags: Any) -> list[Cell]:
    """Return the four arms of every seed, all of one seed before the next."""
    same = {"data": flags.data, "data_root": flags.data_root or "", "images": flags.images, "width": flags.width}
    same |= {"most": flags.labelled}
    return [
        Cell(f"views-{views}-head-{head}-seed{seed}", measured, {**same, "views": views, "head": head, "seed": seed})
        for seed in range(flags.seeds)
        for views, head in product(SIDES, SIDES)
    ]


def measured(
    work: Path, *, data: str, data_root: str, images: int, width: int, most: int, views: str, head: str, seed: int
) -> Metrics:
    """Train one arm on so many pictures, and score it on at most `most` labelled and as many test pictures."""
    recipe = recipe_for(None, data)
    recipe = replace(recipe, seed=seed, width=width or recipe.width)
    source = load_samples(IMAGES, data, data_root=data_root or None, recipe=recipe)
    recipe, facts = fitted(IMAGES, recipe, source)
    backbone, drawn = untrained_backbone(IMAGES, recipe, facts), build_views(IMAGES, recipe, facts)
    num_features = check_backbone(backbone, drawn.plain(next(source.batches([0, 1], 2)).samples))
    torch.manual_seed(seed)  # the head's first weights
    ours = head == "ours"
    method = (build_method if ours else _theirs)(recipe, backbone, num_features).train()
    epochs = images // recipe.batch_size / steps_per_epoch(len(source), recipe.batch_size)
    shown: tuple[Source, Views] = (source, drawn)
    if views == "theirs":
        pairs = TwoViews(source, recipe.image_size, facts["mean"], facts["std"])
        shown = LoadedPairs(pairs), Views((Take(0), Take(1)))
    steps = len(our_steps(method, *shown, replace(recipe, epochs=epochs)))
    parts = labelled_parts(IMAGES, data, data_root=data_root or None)
    if parts is None:
        raise ValueError(f"data: {data} has no labels")
    parts = replace(parts, train=_some(parts.train, most), test=_some(parts.test, most))
    row = dict(measure(backbone.eval(), None, parts, plain=drawn.plain, bars={}).row("trained"))
    return {"pictures": steps * recipe.batch_size, "few_labels": row["few_labels"]["mean"]} | {
        name: row[name] for name in ("linear", "knn")
    }


def _theirs(recipe: Any, backbone: torch.nn.Module, num_features: int) -> LightlyBarlowTwins:
    return LightlyBarlowTwins(backbone, num_features)


def _some(source: Source, most: int) -> Source:
    """The same samples for every arm and seed, each class with its share."""
    if source.labels is None or not 0 < most < len(source):
        return source
    return subset(source, stratified_choice(source.labels, most, 0))


def effects(found: Sequence[Finished], figure: str) -> dict[str, Lead]:
    """Return what our views and our head add in points, and what both add beyond, over the seeds that are whole."""
    arms = [(views, head) for views, head in product(SIDES, SIDES)]
    seeds: dict[int, dict[tuple[str, str], float]] = {}
    for cell in found:
        place = (cell.arguments["views"], cell.arguments["head"])
        seeds.setdefault(cell.arguments["seed"], {})[place] = 100 * cell.metrics[figure]
    whole = [[values[arm] for arm in arms] for _, values in sorted(seeds.items()) if len(values) == len(arms)]
    if not whole:
        return {}
    return {
        "our views": Lead(tuple((c + d - a - b) / 2 for a, b, c, d in whole)),
        "our head": Lead(tuple((b + d - a - c) / 2 for a, b, c, d in whole)),
        "together beyond both": Lead(tuple(a + d - b - c for a, b, c, d in whole)),
    }


def print_tables(found: Sequence[Finished]) -> None:
    """Print the arms, mean over the seeds that ran, and the effects over the seeds that are whole."""
    print(f"\n| views | head | seeds | pictures | {' | '.join(FIGURES.values())} |\n|---|---|{'--:|' * 5}")
    for views, head in product(SIDES, SIDES):
        ones = [one.metrics for one in found if (one.arguments["views"], one.arguments["head"]) == (views, head)]
        if ones:
            means = [f"{100 * statistics.fmean(one[name] for one in ones):.1f}" for name in FIGURES]
            print(f"| {views} | {head} | {len(ones)} | {ones[0]['pictures']:,} | {' | '.join(means)} |")
    for figure, title in FIGURES.items():
        for name, lead in effects(found, figure).items():
            print(f"{title}, {name}: {lead if lead.interval else f'{lead.mean:+.1f} (one seed, no interval)'}")


def main() -> None:
    """Train what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="fashion-mnist")
    parser.add_argument("--data-root", default=None)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, default=64_000, help="pictures that every arm sees")
    parser.add_argument("--width", type=int, default=0, help="of the backbone; 0: that of the recipe")
    parser.add_argument("--labelled", type=int, default=0, help="labelled and test pictures at most; 0: all")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "runs" / "two_by_two")
    parser.add_argument("--print", action="store_true", help="print what there is and train nothing")
    flags = parser.parse_args()
    cells = cells_of(flags)
    print_tables(read_cells(flags.out, cells) if flags.print else compute_cells(flags.out, cells, jobs=1, work="arms"))


if __name__ == "__main__":
    main()
