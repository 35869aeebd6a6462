"""Study: does Barlow Twins between a clip and its noisy copy help to recognise speakers in noise?

Every arm sees the same batches, the same noise and begins with the same weights; they differ in one term of the loss.
Training noise is white or pink; babble is heard in the test only. Labels of test clips are in no loss: groups (what is
said, or whole speakers) or a fifth of each class are set aside first.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from barlow.audio.modality import AUDIO
from barlow.audio.noise_options import Noise
from barlow.audio.views.log_mel import prepare_of
from barlow.audio.views.noisy import NoisyPipeline, bank_of_waves
from barlow.data.order import hash_seed
from barlow.evaluation.scores import LabelledParts, parts_by_groups, split_parts
from barlow.evaluation.verification import trials_of_labels, verify
from barlow.methods.speakers import Speakers
from barlow.modalities import load_samples, modality_for
from barlow.recipes import Recipe, recipe_for
from barlow.report.study_page import Conclusion, Curve, Finding, Plot, Table
from barlow.runs.build import (
    build_backbone,
    build_method,
    build_plan,
    build_run_optimizer,
    build_views,
    fitted,
    memory_of,
    with_classes,
)
from barlow.seams import Facts, Source, check_backbone
from barlow.statistics.correlation import standardize
from barlow.studies.cells import Cell, Finished, Metrics
from barlow.studies.outcomes import SeedMean, over_seeds
from barlow.studies.study import Settings, Study
from barlow.training.journal import Journal
from barlow.training.pretrain import pretrain as train
from barlow.training.progress import StepProgress

ARMS: dict[str, dict[str, Any]] = {
    "classification": {"agreement": "none"},
    "+ Barlow Twins, copies": {"agreement": "barlow_twins", "agreement_weight": 0.01},
    "+ MSE, copies": {"agreement": "mse", "agreement_weight": 0.005},
    "+ invariance term, copies": {"agreement": "invariance", "agreement_weight": 0.01},
    "+ Barlow Twins, same speaker": {"agreement": "barlow_twins", "agreement_weight": 0.01, "pairs": "same_speaker"},
}
"""What is beside the classification. MSE with weight 1 collapsed in a first try; the weights are those of that try."""
BASE, COPIES, MSE, INVARIANCE, SPEAKER = ARMS
WHOLE: dict[str, dict[str, Any]] = {
    "+ Barlow Twins 0.05, copies": {"agreement": "barlow_twins", "agreement_weight": 0.05},
    "+ MSE, same speaker": {"agreement": "mse", "agreement_weight": 0.005, "pairs": "same_speaker"},
}
QUICK = (BASE, COPIES)
EPOCHS = {"quick": 3, "core": 6, "whole": 12}
CONDITIONS: dict[str, tuple[str, float | None]] = {
    "clean": ("white", None),
    "white or pink, 10 dB": ("white+pink", 10.0),
    "white or pink, 0 dB": ("white+pink", 0.0),
    "babble, 5 dB": ("babble", 5.0),
    "babble, 0 dB": ("babble", 0.0),
}
"""Name -> noise and ratio of the test."""
NOISY = tuple(name for name, (_, snr) in CONDITIONS.items() if snr is not None)
ONE_SEED = 0.02
"""Standard deviation of a difference of error rates between seeds, for a study of one seed: as six speakers had it."""
NOISE_SEED = 0x7E57
BATCH = 256


def _cells(settings: Settings) -> list[Cell]:
    if modality_for(settings.data) is not AUDIO:
        raise ValueError(f"data: got {settings.data!r}, wanted a folder of recordings, whose labels are the speakers")
    arms = {"quick": list(QUICK), "core": list(ARMS), "whole": [*ARMS, *WHOLE]}[settings.form]
    asked = {**settings.data_arguments, "labels": settings.labels, "hold_out": settings.hold_out}
    return [
        Cell(
            f"{file_name(arm)}-seed{seed}",
            _measure,
            {**asked, "arm": arm, "seed": seed, "epochs": EPOCHS[settings.form]},
        )
        for seed in range(settings.seeds)
        for arm in arms
    ]


def file_name(arm: str) -> str:
    """Return the name of an arm as one of a file: "barlow-twins-copies"."""
    return "-".join("".join(letter if letter.isalnum() or letter == "." else " " for letter in arm).lower().split())


def _measure(
    work: Path, *, data: str, data_root: str, labels: str, hold_out: str, arm: str, seed: int, epochs: int
) -> Metrics:
    recipe, parts, facts = _prepared(data, data_root, labels, hold_out, arm, seed, epochs)
    method = _trained(work, recipe, parts.train, facts)
    found: Metrics = {"num_train": len(parts.train), "num_test": len(parts.test), "num_speakers": method.num_classes}
    noisy = NoisyPipeline(prepare_of(facts), Noise(room=0.0), bank_of_waves(parts.train, NOISE_SEED))
    assert parts.test.labels is not None
    trials = trials_of_labels(parts.test.labels)
    for name, (kind, snr) in CONDITIONS.items():
        h, hits = _tested(method, replace(noisy, noise=replace(noisy.noise, noises=kind)), parts.test, snr)
        rates = verify(h, trials)
        found[name] = {"accuracy": hits, "eer": rates.eer, "min_dcf": rates.min_dcf}
        if snr is None:
            found["correlation"] = off_diagonal(h)
    return found


def _prepared(
    data: str, data_root: str, labels: str, hold_out: str, arm: str, seed: int, epochs: int
) -> tuple[Recipe, LabelledParts, Facts]:
    """Recipe, training and test part, and facts: the same for every arm but for its options."""
    made = recipe_for("speakers")
    options: dict[str, int | float | str] = {"noises": "white+pink", "room": 0.0}
    recipe = replace(made, seed=seed, epochs=epochs, options=(ARMS | WHOLE)[arm], precision="32-true")
    recipe = replace(recipe, modality_options=made.modality_options | options)
    source = load_samples(AUDIO, data, data_root=data_root or None, labels=labels, recipe=recipe)
    parts = parts_by_groups(source, hold_out) if hold_out else split_parts(source)
    if parts is None:
        raise ValueError(
            f"data: {data!r} has no labels, wanted folders of speakers or --labels '{{group}}_{{label}}_*'"
        )
    recipe, facts = fitted(AUDIO, with_classes(recipe, parts.train), parts.train)
    return recipe, parts, facts


def _trained(work: Path, recipe: Recipe, source: Source, facts: Facts) -> Speakers:
    """Train as a run does, from its checkpoint where there is one."""
    views = build_views(AUDIO, recipe, facts, memory_of(AUDIO, recipe, facts, source))
    torch.manual_seed(recipe.seed)
    network = build_backbone(AUDIO, recipe, facts)
    example = views.plain(next(source.batches([0, 1], 2)).samples)
    num_features = check_backbone(network, example)
    method = build_method(recipe, network, num_features)
    assert isinstance(method, Speakers)
    fabric = Fabric(accelerator="cpu", devices=1)
    plan = build_plan(recipe, num_samples=len(source), num_features=num_features, checkpoint_minutes=2.0)
    work.mkdir(parents=True, exist_ok=True)
    with Journal(work / "journal.jsonl") as journal:
        optimizer = build_run_optimizer(recipe, method, fabric)
        silent = StepProgress(recipe.epochs, quiet=True)
        if not train(
            source, views, method, optimizer, plan, fabric=fabric, folder=work, journal=journal, progress=silent
        ):
            raise KeyboardInterrupt
    method.eval()
    return method


@torch.inference_mode()
def _tested(method: Speakers, noisy: NoisyPipeline, source: Source, snr: float | None) -> tuple[Tensor, float]:
    """Embeddings of the test clips in noise of one ratio, and the share that the classifier calls right."""
    view = noisy if snr is None else replace(noisy, noise=replace(noisy.noise, snr_low=snr, snr_high=snr))
    assert source.labels is not None
    rows, right = [], 0
    for number, batch in enumerate(source.batches(range(len(source)), BATCH)):
        generator = torch.Generator().manual_seed(hash_seed(NOISE_SEED, number))
        params = {} if snr is None else view.sample(batch.samples, generator)
        h = method.represent(view.apply(batch.samples, params))
        labels = source.labels[batch.indices]
        right += int((method.classifier(h, torch.full_like(labels, -1)).argmax(dim=1) == labels).sum())
        rows.append(h)
    return torch.cat(rows).clone(), right / len(source)


def off_diagonal(h: Tensor) -> float:
    """Return the mean size of the correlations between different features."""
    n = standardize(h.double())
    c = n.T @ n / len(n)
    width = len(c)
    return float((c.abs().sum() - c.diagonal().abs().sum()) / (width * (width - 1)))


# --- what follows from the cells

Arms = Mapping[str, Sequence[Mapping[str, Any]]]
"""Metrics by arm, one entry per seed, in the order of the seeds."""


def by_arm(cells: Sequence[Finished]) -> Arms:
    """Return metrics by arm."""
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for cell in sorted(cells, key=lambda cell: int(cell.arguments["seed"])):
        found[cell.arguments["arm"]].append(cell.metrics)
    return dict(found)


def fewer_errors(found: Arms, arm: str, other: str, conditions: Sequence[str]) -> SeedMean:
    """Return by how much the equal error rate of an arm is below that of another, seed by seed, mean of conditions."""
    return over_seeds(
        [
            fmean(theirs[name]["eer"] - ours[name]["eer"] for name in conditions)
            for ours, theirs in zip(found[arm], found[other], strict=True)
        ],
        ONE_SEED,
    )


def _conclude(cells: Sequence[Finished]) -> Conclusion:
    found = by_arm(cells)
    findings = [
        _compared(found, "paper", COPIES, BASE, NOISY, "in noise"),
        _compared(found, "paper", COPIES, BASE, ("clean",), "when clean"),
        _less_correlated(found),
        _compared(found, "control", COPIES, MSE, NOISY, "in noise"),
        _compared(found, "control", COPIES, INVARIANCE, NOISY, "in noise"),
        _compared(found, "first try", SPEAKER, BASE, ("clean",), "when clean"),
        _compared(found, "first try", SPEAKER, COPIES, NOISY, "in noise"),
    ]
    return Conclusion(
        [one for one in findings if one is not None], [_rates(found), _differences(found), _curves(found)]
    )


def _compared(found: Arms, claim: str, arm: str, other: str, conditions: Sequence[str], when: str) -> Finding | None:
    """Whether an arm has fewer errors than another; None where one of them was not measured."""
    if arm not in found or other not in found:
        return None
    less = fewer_errors(found, arm, other, conditions)
    against = "classification alone" if other == BASE else other.removeprefix("+ ")
    return Finding(
        claim,
        f"{arm.removeprefix('+ ')} has a lower equal error rate than {against} {when}.",
        less.positive,
        f"the rate falls by {100 * less.mean:.1f} ± {100 * less.margin:.1f} points over {less.num_seeds} paired seeds "
        f"({', '.join(conditions)}); seed by seed "
        + ", ".join(f"{100 * one:+.1f}" for one in _each(found, arm, other, conditions))
        + ".",
    )


def _each(found: Arms, arm: str, other: str, conditions: Sequence[str]) -> list[float]:
    pairs = zip(found[arm], found[other], strict=True)
    return [fmean(theirs[name]["eer"] - ours[name]["eer"] for name in conditions) for ours, theirs in pairs]


def _less_correlated(found: Arms) -> Finding:
    less = over_seeds(
        [a["correlation"] - b["correlation"] for a, b in zip(found[BASE], found[COPIES], strict=True)], ONE_SEED
    )
    means = [fmean(one["correlation"] for one in found[arm]) for arm in (BASE, COPIES)]
    return Finding(
        "mechanism",
        "Barlow Twins between the copies makes the features of the embedding less correlated.",
        less.positive,
        f"the mean size of the correlations is {means[1]:.3f} instead of {means[0]:.3f}; the difference is {less}.",
    )


def _rates(found: Arms) -> Table:
    first = next(iter(found.values()))[0]
    return Table(
        "Accuracy and equal error rate",
        f"Means over seeds on {first['num_test']} test clips of {first['num_speakers']} speakers; training had "
        f"{first['num_train']} others. Accuracy of the classifier / EER of cosines. Babble is heard in the test only.",
        ["", *CONDITIONS, "mean size of correlations"],
        [
            [
                arm,
                *(f"{_mean(seeds, name, 'accuracy'):.3f} / {_mean(seeds, name, 'eer'):.3f}" for name in CONDITIONS),
                f"{fmean(one['correlation'] for one in seeds):.3f}",
            ]
            for arm, seeds in found.items()
        ],
    )


def _mean(seeds: Sequence[Mapping[str, Any]], condition: str, what: str) -> float:
    return fmean(one[condition][what] for one in seeds)


def _differences(found: Arms) -> Table:
    return Table(
        "Paired differences of the equal error rate",
        "Points by which each arm is below classification alone, on the same batches and the same noise; ±: the "
        "interval beyond which 5% lie on one side.",
        ["", *CONDITIONS],
        [
            [arm, *(_points(fewer_errors(found, arm, BASE, (name,))) for name in CONDITIONS)]
            for arm in found
            if arm != BASE
        ],
    )


def _points(less: SeedMean) -> str:
    return f"{100 * less.mean:+.1f} ± {100 * less.margin:.1f}"


def _curves(found: Arms) -> Plot:
    places = list(range(len(CONDITIONS)))
    return Plot(
        "Equal error rate by condition",
        f"Mean over seeds; conditions from left to right: {', '.join(CONDITIONS)}.",
        "condition",
        [
            Curve(arm, places, [_mean(seeds, name, "eer") for name in CONDITIONS], f"c{number % 7 + 1}")
            for number, (arm, seeds) in enumerate(found.items())
        ],
        y_name="equal error rate",
    )


STUDY = Study(
    "Speakers in noise",
    "Mohammadamini et al. 2022 (hal-03710445): a speaker recogniser that is also trained to make the embeddings of a "
    "clip and of its noisy copy agree, feature by feature and without redundancy (Barlow Twins), has 22% fewer errors "
    "when clean and 18% fewer at low ratios with reverberation. Its corpus is not at hand; this is what comes out "
    "of the data given.",
    _cells,
    _conclude,
    seeds=5,
)
