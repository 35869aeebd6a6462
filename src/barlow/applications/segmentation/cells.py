"""The cells of a segmentation: one fine-tuning, or one bar, each computed once and kept."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from torch import Tensor, nn

from barlow.applications.segmentation.bars import (
    constant,
    foreground_is_brighter,
    otsu_masks,
    pixel_classifier,
    usual_class,
)
from barlow.applications.segmentation.fit import fit_masks, num_parameters, tell_seen
from barlow.applications.segmentation.model import SegmentationModel, write_mask
from barlow.applications.segmentation.pictures import (
    MaskedSource,
    MaskTable,
    Pairs,
    build_segmenter,
    open_masked,
    open_pairs,
)
from barlow.applications.segmentation.predict import predict_mask
from barlow.applications.segmentation.scores import score_image, summarise
from barlow.applications.segmentation.settings import ALL, ARMS, SegmentSettings
from barlow.modalities import modality_of
from barlow.recipes import Recipe
from barlow.runs.build import named_backbone, open_backbone, untrained_backbone
from barlow.runs.folder import RunFolder
from barlow.seams import Facts
from barlow.studies.cells import Cell, Metrics
from barlow.training.engine import device_of

SPLIT_SEED = 20220
"""Seed of the split where a folder has none: always the same, so that nothing can be tuned by choosing it."""
FRESH_SEED = 1_000_003
"""Added to a seed for fresh weights, so that they are not those that the run began with."""
SHOWN = 4
"""Test images whose masks are kept for the page."""
PER_CELL = ("steps", "batch_size", "window", "short_side", "normalise", "learning_rate", "weight_decay")
PER_DATA = ("test_share", "masks", "unlabelled")
"""Settings that decide a cell: those of the fit, and those of the data, which bars share."""


@dataclass(frozen=True)
class Subject:
    """A pretrained network and where it comes from: what cells open again in their own process."""

    backbone: nn.Module
    recipe: Recipe
    facts: Facts

    def untrained(self, seed: int) -> nn.Module:
        """Return the same network with weights of another seed; those it was made to start from do not count."""
        recipe = replace(self.recipe, seed=seed + FRESH_SEED, pretrained="")
        return untrained_backbone(modality_of(self.facts), recipe, self.facts)


def open_subject(run: str | Path) -> Subject:
    """Open the backbone of a run; ValueError where nobody can build the same network with fresh weights."""
    where = RunFolder(Path(run))
    where.require_own_files()
    recipe, facts = where.recipe(), where.data()
    kind = modality_of(facts)
    if not named_backbone(kind, recipe):
        raise ValueError(f"run: its backbone {recipe.backbone} came as an object, wanted one that has a name")
    return Subject(open_backbone(kind, where.checkpoints, recipe, facts), recipe, facts)


def split_images(pairs: Pairs, share: float) -> tuple[list[int], list[int]]:
    """Return training and test images: as the folder is split, else `share` of them at random, always the same."""
    if "test" in pairs.splits:
        train, test = pairs.positions("train"), pairs.positions("test")
    else:
        order = np.random.default_rng(SPLIT_SEED).permutation(len(pairs.images)).tolist()
        held = max(1, round(share * len(order)))
        train, test = sorted(order[held:]), sorted(order[:held])
    if not train or not test:
        raise ValueError(f"data: {len(train)} images with masks to train on and {len(test)} to test on in {pairs.root}")
    return train, test


def draw_labelled(train: Sequence[int], count: int, seed: int) -> list[int]:
    """Return the training images whose masks are seen: the first ones in an order by seed, so that 5 are among 10."""
    if count > len(train):
        raise ValueError(f"labels: got {count}, but there are {len(train)} training images with masks")
    order = np.random.default_rng(seed).permutation(len(train))
    return [train[place] for place in order[: count or len(train)].tolist()]


def cells_of(
    run: Path, data: Path, table: MaskTable, settings: SegmentSettings, *, digest: str, accelerator: str
) -> list[Cell]:
    """Return all cells, the first seed of every arm and number of labels before the second."""
    common: dict[str, Any] = {"data": str(data), "table": table.as_json(), "accelerator": accelerator}
    numbers = {name: _plain(value) for name, value in asdict(settings).items() if name in (*PER_CELL, *PER_DATA)}
    common |= {"run": str(run), "numbers": numbers}
    counts = settings.label_counts()
    largest = largest_of(counts)
    cells = [Cell("bars", bars, common)]
    for seed in range(settings.seeds):
        for count in counts:
            name = f"{count or 'all'}-seed{seed}"
            for arm in settings.arms:
                keep = seed == 0 and count == largest
                given = {**common, "arm": arm, "labels": count, "seed": seed, "keep": keep}
                cells.append(
                    Cell(f"{arm}-{name}", fine_tuned, given | ({} if arm == "scratch" else {"digest": digest}))
                )
            cells.append(Cell(f"pixels-{name}", pixels, {**common, "labels": count, "seed": seed}))
    return cells


def largest_of(counts: Sequence[int]) -> int:
    """Return the largest of some numbers of labels; all of them are more than any number."""
    return ALL if ALL in counts else max(counts)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Opened:
    """What a cell needs of its arguments: the run, training and test images, how many classes."""

    subject: Subject
    settings: SegmentSettings
    table: MaskTable
    pairs: Pairs
    train: list[int]
    test: list[int]

    def source(self, positions: Sequence[int]) -> MaskedSource:
        """Open some images with their masks."""
        return open_masked(self.pairs, positions, self.table, self.subject.facts)


def opened(run: str, data: str, table: dict[str, Any], numbers: dict[str, Any]) -> Opened:
    """Open run and data again."""
    known: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in numbers.items()}
    settings = SegmentSettings(**known)
    pairs = open_pairs(Path(data), settings)
    train, test = split_images(pairs, settings.test_share)
    return Opened(open_subject(run), settings, MaskTable.from_json(table), pairs, train, test)


def fine_tuned(
    work: Path,
    *,
    run: str,
    data: str,
    table: dict[str, Any],
    numbers: dict[str, Any],
    accelerator: str,
    arm: str,
    labels: int,
    seed: int,
    keep: bool,
    digest: str = "",
) -> Metrics:
    """Fine-tune one arm on some labelled images and score it on the test images; `digest` is of the weights."""
    all_of = opened(run, data, table, numbers)
    subject, classes = all_of.subject, len(all_of.table.names)
    source = all_of.source(draw_labelled(all_of.train, labels, seed))
    seen = tell_seen(source, all_of.settings)
    assert arm in ARMS
    backbone = subject.untrained(seed) if arm == "scratch" else subject.backbone
    network = build_segmenter(backbone, classes, subject.facts, seed=seed).to(device_of(accelerator))
    losses = fit_masks(network, source, seen, all_of.settings, frozen=arm == "frozen", seed=seed)
    trained = num_parameters(network)
    model = SegmentationModel(network, all_of.table, seen, subject.recipe, subject.facts, len(source))
    if keep:
        model.save(work / "model")
    out = work / "masks" if keep else None
    scores = score_masks(all_of, lambda image: predict_mask(network, image, seen), out)
    return {**scores, "loss": losses, "num_labels": len(source), "trained_numbers": trained}


def pixels(
    work: Path,
    *,
    run: str,
    data: str,
    table: dict[str, Any],
    numbers: dict[str, Any],
    accelerator: str,
    labels: int,
    seed: int,
) -> Metrics:
    """Score the pixel classifier, fitted on the images that the networks of this seed see."""
    all_of = opened(run, data, table, numbers)
    source = all_of.source(draw_labelled(all_of.train, labels, seed))
    return score_masks(all_of, pixel_classifier(source, tell_seen(source, all_of.settings), seed=seed), None)


def bars(
    work: Path, *, run: str, data: str, table: dict[str, Any], numbers: dict[str, Any], accelerator: str
) -> Metrics:
    """Score what needs no labelled image of its own: Otsu and all foreground for two classes, else the usual class."""
    all_of = opened(run, data, table, numbers)
    train, classes = all_of.source(all_of.train), len(all_of.table.names)
    if classes == 2:
        brighter = foreground_is_brighter(train)
        found = {"Otsu": otsu_masks(brighter=brighter), "all foreground": constant(1)}
    else:
        usual = usual_class(train, classes)
        found = {f"all {all_of.table.names[usual]}": constant(usual)}
    return {"bars": {name: score_masks(all_of, predict, None) for name, predict in found.items()}}


def score_masks(
    all_of: Opened, predict: Callable[[UInt8[Tensor, "c h w"]], UInt8[Tensor, "h w"]], out: Path | None
) -> Metrics:
    """Score masks of all test images that can be read; `out` keeps them, and what the page shows."""
    source, scores = all_of.source(all_of.test), []
    for batch in source.batches(range(len(source)), 1):
        (place,) = batch.indices.tolist()
        mask, (truth,) = predict(batch.samples[0]), source.targets([place])
        scores.append(score_image(mask.numpy(), truth.numpy(), len(all_of.table.names)))
        if out is not None:
            name = Path(all_of.pairs.images[all_of.test[place]]).with_suffix(".png")
            write_mask(all_of.table, mask, out / name)
            if len(scores) <= SHOWN:
                np.savez_compressed(
                    out.parent / f"shown-{len(scores)}.npz", image=batch.samples[0].numpy(), truth=truth.numpy(),
                    predicted=mask.numpy(), name=name.stem,
                )  # fmt: skip
    if not scores:
        raise ValueError(f"data: none of {len(source)} test images can be read")
    return {**summarise(scores), "num_test": len(scores), "bad": len(source.bad)}
