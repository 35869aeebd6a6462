"""The backbones of `label_free.py`: trained where they are missing, measured without labels and with them, kept."""

import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

import barlow
from barlow.audits.observation import Observation, observe, project
from barlow.audits.quantities import quantities
from barlow.audits.subjects import Networks, open_subject
from barlow.data.arrays import ArraySource
from barlow.data.subsets import SubsetSource
from barlow.evaluation.features import extract
from barlow.evaluation.linear import few_label_accuracy, fit_linear_probe
from barlow.evaluation.scores import LabelledParts, calibrate
from barlow.evaluation.splits import few_label_draws, validation_split
from barlow.files import read_json, write_json
from barlow.images import modality as images
from barlow.images.data.load import load_source
from barlow.recipes import recipe_for
from barlow.runs.build import build_views, fitted, untrained_backbone
from barlow.runs.folder import RunFolder
from barlow.runs.run import open_run
from barlow.seams import Views
from barlow.theory.floors import pearson_floor
from barlow.theory.intraclass import lidar
from barlow.theory.moments import Moments
from barlow.theory.spectrum import rank_me
from barlow.training.journal import read_journal
from barlow.training.machine import Machine

DATA = "fashion-mnist"
METHODS = (
    "barlow_twins", "simclr", "swav", "simsiam", "vicreg", "wmse", "optimal_projector", "byol", "sigreg",
)  # fmt: skip
EPOCHS, SEEDS = (1, 2, 4, 8), (0, 1)
PICTURES, WIDTH = 6000, 32
UNTRAINED = ((32, range(6)), (16, range(2)), (64, range(2)))
OTHERS = ("methods/ours/*/seed-*", "fashion-mnist-default-*")

IMAGES, NUM_VIEWS, VIEWS = 3072, 6, "small-grey-flip"
EMBEDDING, REDUNDANCY_WEIGHT = 256, 0.02
"""D and lambda of the closed-form limit: those of our Barlow Twins recipe, for every backbone alike."""
TRAIN, TEST, PER_CLASS, DRAWS = 10_000, 5000, 10, 5
LAST_STEPS = 0.1
"""Share of the steps whose mean loss counts as the final one: single batches scatter."""

VARIED_EPOCHS, VARIED_SEED = 4, 2
"""One length and one seed for all that differ in something else, so that length cannot explain what they are worth."""

VARIED: dict[str, dict[str, Any]] = {
    **{f"lambda-{weight:g}": {"redundancy_weight": weight} for weight in (0.0005, 0.002, 0.005, 0.05, 0.2, 1.0)},
    **{f"width-{d}": {"projector": f"{d}-{d}"} for d in (16, 32, 64, 128, 512, 1024)},
    **{f"rate-{rate:g}": {"learning_rate": rate} for rate in (3e-5, 1e-4, 3e-4, 1e-3, 1e-2, 3e-2)},
    **{
        f"views-{name}": {"views": name}
        for name in ("small-grey", "cifar-symmetric", "simclr-cifar", "wmse-cifar", "byol-iid", "from-above")
    },
    "collapsed": {"method": "vicreg", "options": {"variance_weight": 0.0, "covariance_weight": 0.0}},
    "shortcut": {"stamped": True},
}
"""24 runs of Barlow Twins that vary lambda, D, the rate or the views, each from the recipe by itself; one that
collapses (VICReg without what prevents it); one with a shortcut: a mark in every picture that tells it from others."""
MARK_ROWS, MARK_BITS = 3, 14
"""The mark: so many rows at the lower edge, in so many blocks of black or white that are the number of the picture."""

FIGURES = {
    "augmentation_share": -1, "mean_correlation": 1, "view_information": 1, "num_above_edge": 1,
    "pearson_limit": -1, "pearson_limit_cross_fit": -1, "lidar": 1, "rank": 1, "effective_rank": 1,
    "participation_ratio": 1, "rank_me": 1, "condition_number": -1, "alpha": 0, "distance_of_alpha_from_1": -1,
    "alignment": -1, "uniformity": -1, "rank_me_z": 1, "lidar_z": 1,
}  # fmt: skip
"""Figure -> whether more of it is said to be better (1), less of it (-1) or a value in between (0)."""
Record = dict[str, Any]


def train_small_runs(out: Path, data_root: str | None) -> None:
    """Train what is missing: every method for every length and seed, on the same pictures without labels."""
    whole = load_source(DATA, data_root=data_root)
    pictures = SubsetSource(whole, torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))[:PICTURES])
    pictures.labels = None
    for seed in SEEDS:
        for epochs in EPOCHS:
            for method in METHODS:
                folder = out / f"{method}-{epochs}-{seed}"
                if (folder / "summary.json").exists():
                    continue
                run = barlow.pretrain(
                    pictures, recipe=recipe_for(method, DATA), out=folder, epochs=epochs, seed=seed, width=WIDTH,
                    machine=Machine(quiet=True, devices="1"),
                )  # fmt: skip
                print(f"trained {folder.name}", flush=True)
                if not run.finished:
                    raise SystemExit("stopped; the same command goes on")


def train_varied_runs(out: Path, data_root: str | None) -> None:
    """Train what is missing of `VARIED`, on the pictures of the small runs."""
    whole = load_source(DATA, data_root=data_root)
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))[:PICTURES]
    pixels = torch.cat([batch.samples for batch in whole.batches(order.tolist(), 1000)])
    for name, changes in VARIED.items():
        folder, numbers = out / f"varied-{name}", dict(changes)
        if (folder / "summary.json").exists():
            continue
        recipe = recipe_for(numbers.pop("method", "barlow_twins"), DATA)
        samples = stamped(pixels) if numbers.pop("stamped", False) else pixels
        run = barlow.pretrain(
            ArraySource(samples, name=DATA), recipe=recipe, out=folder, epochs=VARIED_EPOCHS, seed=VARIED_SEED,
            width=WIDTH, machine=Machine(quiet=True, devices="1"), **numbers,
        )  # fmt: skip
        print(f"trained {folder.name}", flush=True)
        if not run.finished:
            raise SystemExit("stopped; the same command goes on")


def stamped(pixels: UInt8[Tensor, "n c h w"]) -> UInt8[Tensor, "n c h w"]:
    """Return pictures that say their number in black and white at their lower edge."""
    bits = (torch.arange(len(pixels))[:, None] >> torch.arange(MARK_BITS)) & 1
    marks = (255 * bits).to(torch.uint8).repeat_interleave(pixels.shape[3] // MARK_BITS, dim=1)
    found = pixels.clone()
    found[:, :, -MARK_ROWS:, : marks.shape[1]] = marks[:, None, None]
    return found


def measured(out: Path, parts: LabelledParts) -> list[Record]:
    """Return one record per backbone, measuring those that have none yet."""
    jobs: dict[str, Callable[[], Record]] = {}
    for width, seeds in UNTRAINED:
        jobs |= {f"untrained-{width}-{seed}": _untrained_job(width, seed, parts) for seed in seeds}
    small = [out / f"{method}-{epochs}-{seed}" for method in METHODS for epochs in EPOCHS for seed in SEEDS]
    others = [folder for pattern in OTHERS for folder in sorted(out.parent.glob(pattern))]
    varied = [out / f"varied-{name}" for name in VARIED]
    for folder in small + varied + others:
        if (folder / "summary.json").exists() and RunFolder(folder).finished():
            ours = folder in small + varied
            name = folder.name if ours else str(folder.relative_to(out.parent)).replace("/", "-")
            jobs[name] = _run_job(folder, parts, small=ours, varied="" if folder not in varied else name.split("-")[1])
    records = []
    for name, job in jobs.items():
        path = out / "records" / f"{name}.json"
        if not path.exists() or not FIGURES.keys() <= read_json(path)["figures"].keys():
            record: Record = {"name": name, **job()}
            write_json(path, record)
            print(f"measured {name}: {100 * record['linear']:.2f}", flush=True)
        records.append(read_json(path))
    return records


def _untrained_job(width: int, seed: int, parts: LabelledParts) -> Callable[[], Record]:
    def job() -> Record:
        recipe, facts = fitted(images.IMAGES, replace(recipe_for(None, DATA), width=width, seed=seed), parts.train)
        views = build_views(images.IMAGES, replace(recipe, views=VIEWS), facts)
        backbone = calibrate(untrained_backbone(images.IMAGES, recipe, facts), parts.train, views.plain)
        about = {"method": "untrained", "epochs": 0, "seed": seed, "width": width, "small": width == WIDTH}
        return about | {"loss": None} | measure(Networks(backbone, None), views, parts)

    return job


def _run_job(folder: Path, parts: LabelledParts, *, small: bool, varied: str) -> Callable[[], Record]:
    def job() -> Record:
        run = open_run(folder)
        recipe = run.recipe
        views = build_views(images.IMAGES, replace(recipe, views=VIEWS), RunFolder(folder).data())
        losses = [record["loss"] for record in read_journal(folder / "journal.jsonl") if record["event"] == "step"]
        last = losses[-max(1, round(LAST_STEPS * len(losses))) :]
        about: Record = {"method": recipe.method, "epochs": recipe.epochs, "seed": recipe.seed, "width": recipe.width}
        trained = open_subject(folder, parts.train).trained
        networks = Networks(run.backbone, None if trained is None else trained.projector)
        return (
            about | {"small": small, "varied": varied, "loss": statistics.fmean(last)} | measure(networks, views, parts)
        )

    return job


def embedding_figures(projector: nn.Module | None, seen: Observation) -> dict[str, float | None]:
    """Return RankMe and LiDAR of z, of which their papers speak, by the formulas of h; None without a projector."""
    if projector is None or seen.h is None or seen.h_views is None:
        return {"rank_me_z": None, "lidar_z": None}
    z, z_views = project(projector, seen.h), project(projector, seen.h_views.flatten(0, 1))
    moments = Moments(z.shape[1], num_blocks=1)
    moments.add(z_views.unflatten(0, seen.h_views.shape[:2]))
    c = moments.covariances()
    return {"rank_me_z": rank_me(z), "lidar_z": lidar(c.between + c.within / c.num_views, c.within)}


def measure(networks: Networks, views: Views, parts: LabelledParts) -> Record:
    """Return the label-free figures of a backbone, two of what its projector makes of it, and what labels say of it."""
    backbone = networks.backbone
    if not isinstance(backbone, nn.Module):
        raise TypeError(f"networks: got a backbone of type {type(backbone).__name__}, wanted a module")
    seen = observe(
        Networks(backbone.eval(), None), parts.train, views, num_images=IMAGES, num_views=NUM_VIEWS, keep_views=True
    )
    found, spectrum = (part.to_json() for part in quantities(seen))
    figures = {name: found[name]["value"] for name in FIGURES if name in found}
    figures |= embedding_figures(networks.projector, seen)
    for name, estimate in (("pearson_limit", "plug_in"), ("pearson_limit_cross_fit", "cross_fit")):
        figures[name] = pearson_floor(spectrum[estimate], EMBEDDING, REDUNDANCY_WEIGHT)
    alpha = figures["alpha"]
    figures["distance_of_alpha_from_1"] = None if alpha is None else abs(alpha - 1)
    errors = {name: found[name]["error"] for name in figures if name in found and found[name]["error"] is not None}
    train = extract(backbone, parts.train, plain=views.plain, limit=TRAIN)
    test = extract(backbone, parts.test, plain=views.plain, limit=TEST)
    if train.labels is None or test.labels is None:
        raise ValueError(f"data: {DATA} has no labels")
    probe = fit_linear_probe(train.h, train.labels, validation_split(train.labels, fraction=0.2, most=TRAIN, seed=0))
    draws = few_label_draws(train.labels, per_class=PER_CLASS, draws=DRAWS, seed=0)
    return {
        "num_features": train.h.shape[1],
        "linear": probe.accuracy(test.h, test.labels),
        "few_labels": few_label_accuracy(train.h, train.labels, test.h, test.labels, draws).mean,
        "converged": probe.classifier.converged,
        "figures": figures,
        "errors": errors,
    }
