"""Speaker verification by a run: EER and minDCF of its embeddings on clips as they are, and in noise at given ratios.

Beside the trained network stand the same network untrained, and the mean and deviation over time of the log-mels.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from barlow.audio.data.load import load_clips
from barlow.audio.noise_options import Noise
from barlow.audio.views.log_mel import prepare_of
from barlow.audio.views.noisy import NoisyPipeline, bank_of_waves, check_kinds, folders_in
from barlow.data.groups import held_out
from barlow.data.order import hash_seed
from barlow.data.subsets import subset
from barlow.evaluation.scores import calibrate, split_parts
from barlow.evaluation.verification import MOST_SAMPLES, Trials, Verification, read_trials, trials_of_labels, verify
from barlow.modalities import load_samples, place_of, said, splits_of
from barlow.report.page import sparing_a_page
from barlow.runs.build import named_backbone, untrained_backbone
from barlow.runs.folder import RunFolder
from barlow.runs.own_data import is_own
from barlow.runs.run import FOR_OTHERS_SECONDS, Run
from barlow.seams import OnDevice, Source
from barlow.training.engine import device_of
from barlow.training.progress import Progress
from barlow.writers import one_writer, refuse_second

CLEAN = "clean"
"""The condition without noise."""
NOISE_SEED = 0x5EED
"""The noise of a ratio is the same for every network."""
BATCH = 256
"""Clips at once: fixed, for the noise of a clip follows from its batch."""


@dataclass(frozen=True)
class SpeakerScore:
    """Verification in every condition.

    Attributes:
        rows: per network or bar "features", "num_features" and "verification": of each condition "condition", "snr"
            (None: clean), "eer" and "min_dcf".
        trials: what they were measured on, in words.
        kept: the file in the run folder, None where it was not kept.
    """

    rows: Sequence[Mapping[str, Any]]
    trials: str
    kept: Path | None = None
    notes: Sequence[str] = field(default=())

    def eer(self, condition: str = CLEAN, features: str = "trained") -> float:
        """Return the equal error rate in a condition, such as "clean" or "babble 5 dB"."""
        row = next(row for row in self.rows if row["features"] == features)
        return float(next(one["eer"] for one in row["verification"] if one["condition"] == condition))


def verify_speakers(
    run: Run,
    data: Any = None,
    *,
    trials: str | Path | None = None,
    snr: Sequence[float] = (),
    noise: str = "babble",
    labels: str = "auto",
    hold_out: str = "",
    data_root: str | Path | None = None,
    accelerator: str = "auto",
    keep: bool = True,
    quiet: bool = True,
) -> SpeakerScore:
    """Measure how well cosines of embeddings tell pairs of one speaker from others.

    Args:
        run: of sound.
        data: clips; None: those of the run. Of the run's own only what it was not trained on with labels counts: its
            test split, what it held out, or the part set aside; a file of trials may name any of them.
        trials: a file of "enrol test label", names as ends of paths; None: every pair of the clips, by their labels.
        snr: ratios of signal to noise in decibels at which to measure again, the enrolled clip noisy too.
        noise: white, pink, babble (of other clips of the data), or a folder of recordings of noise.
        labels: as for `Run.evaluate`: "auto" or a pattern such as "{group}_{label}_*".
        hold_out: groups whose clips alone are paired, such as "group=george,lucas"; they may be unknown speakers.
        data_root: where named data sets live.
        accelerator: auto, cpu, cuda or mps.
        keep: write what is found to `evaluations/` in the run folder and on the page.
        quiet: no progress on the terminal.

    Raises:
        ValueError: no labels and no trials, one kind of trial alone, a kind of noise that is none, a run of no sound.
    """
    started, device = time.perf_counter(), device_of(accelerator)
    if run.modality.name != "audio":
        raise ValueError(
            f"run: got one of {run.modality.noun}s, wanted one of sound: speakers are verified by their voice"
        )
    asked = Noise(0.0, 0.0, noise, room=0.0)
    check_kinds(asked, "noise")
    if keep:
        refuse_second(run.folder)
    found = _clips(run, data, labels, hold_out, data_root, paired_by_file=trials is not None)
    pairs, words = _trials(found.test, trials)
    prepare = prepare_of(run.facts)
    clips = _noise_clips(asked, found, run) if snr else {}
    noisy = NoisyPipeline(prepare, asked, clips.get("voices"), clips.get("recordings"))
    networks = _networks(run, found.rest or found.test, device)
    conditions: dict[str, float | None] = {CLEAN: None} | {f"{noise.strip('/')} {ratio:g} dB": ratio for ratio in snr}
    measured = {
        name: _embedded(networks, noisy, OnDevice(found.test, device), ratio) for name, ratio in conditions.items()
    }
    rows = [_row(features, conditions, measured, pairs) for features in networks]
    score = SpeakerScore(rows, words, notes=found.notes)
    return _kept(run, found, score, started, quiet) if keep else score


@dataclass(frozen=True)
class _Clips:
    """Clips to pair, others of the same data, and where they are."""

    test: Source
    rest: Source | None
    path: str
    notes: tuple[str, ...] = ()


def _clips(
    run: Run, data: Any, labels: str, hold_out: str, data_root: str | Path | None, *, paired_by_file: bool
) -> _Clips:
    given, wanted = run.facts, run.own_data(data_root) if data is None else data
    own = data is None or is_own(RunFolder(run.folder), run.modality, data, data_root)
    asked = said(data_root=data_root or given.get("data_root") or None)
    asked |= {"facts": given, "labels": given.get("labels", labels) if own and labels == "auto" else labels}
    if own and not paired_by_file:  # a file says itself which clips count
        hold_out = hold_out or given.get("hold_out", "")
    path = place_of(run.modality, wanted)
    if "test" in splits_of(run.modality, wanted) and not hold_out:
        return _Clips(load_samples(run.modality, wanted, split="test", **asked), None, path)
    whole = load_samples(run.modality, wanted, **asked)
    if hold_out:
        away = held_out(whole, hold_out)
        return _Clips(subset(whole, away.nonzero()), subset(whole, (~away).nonzero()), path)
    parts = split_parts(whole) if own and not paired_by_file else None
    if parts is not None:
        return _Clips(parts.test, parts.train, path)
    notes = ("clips of the training data may be among the trials",) if own else ()
    return _Clips(whole, None, path, notes)


def _trials(source: Source, file: str | Path | None) -> tuple[Trials, str]:
    if file is not None:
        trials = read_trials(file, [source.describe(position) for position in range(len(source))])
        return trials, f"{len(trials)} trials of {Path(file).name}"
    if source.labels is None:
        raise ValueError(f"data: {source.name} has no labels to pair by; wanted --labels, or --trials FILE")
    good = torch.tensor([position not in source.bad for position in range(len(source))])
    trials = trials_of_labels(torch.where(good, source.labels, -1))
    some = f", a part of {len(source)}" if len(source) > MOST_SAMPLES else ""
    return trials, f"every pair of {min(len(source), MOST_SAMPLES)} clips{some}"


def _noise_clips(asked: Noise, found: _Clips, run: Run) -> dict[str, Tensor | None]:
    folders = folders_in(asked)
    recordings = [
        bank_of_waves(load_clips(folder, facts=run.facts, labels="none", min_samples=1), NOISE_SEED)
        for folder in folders
    ]
    voices = bank_of_waves(found.rest or found.test, NOISE_SEED) if "babble" in asked.kinds else None
    return {"voices": voices, "recordings": torch.cat(recordings) if recordings else None}


def statistics(view: Float[Tensor, "n 1 m t"]) -> Float[Tensor, "n d"]:
    """Return mean and deviation over time of every band: what tells speakers apart without a network."""
    return torch.cat([view[:, 0].mean(dim=2), view[:, 0].std(dim=2)], dim=1)


def _networks(run: Run, source: Source, device: torch.device) -> dict[str, Callable[[Any], Tensor]]:
    found: dict[str, Callable[[Any], Tensor]] = {"trained": run.backbone.to(device).eval()}
    if named_backbone(run.modality, run.recipe):
        twin = untrained_backbone(run.modality, run.recipe, run.facts).to(device)
        found["untrained"] = calibrate(twin, OnDevice(source, device), run.views.bare().plain)
    return found | {"log-mel, mean and deviation": statistics}


@torch.inference_mode()
def _embedded(
    networks: Mapping[str, Callable[[Any], Tensor]], noisy: NoisyPipeline, source: Source, snr: float | None
) -> dict[str, Tensor]:
    """Embeddings of every clip by every network, in noise of that ratio; rows of clips that cannot be read are 0."""
    view = noisy if snr is None else replace(noisy, noise=replace(noisy.noise, snr_low=snr, snr_high=snr))
    found: dict[str, Tensor] = {}
    for number, batch in enumerate(source.batches(range(len(source)), BATCH)):
        generator = torch.Generator().manual_seed(hash_seed(NOISE_SEED, number, 0 if snr is None else round(10 * snr)))
        params = {} if snr is None else view.sample(batch.samples, generator)
        x = view.apply(batch.samples, params)
        for name, network in networks.items():
            h = network(x).float().cpu()
            found.setdefault(name, torch.zeros(len(source), h.shape[1]))[batch.indices] = h
    return found


def _row(
    features: str,
    conditions: Mapping[str, float | None],
    measured: Mapping[str, Mapping[str, Tensor]],
    trials: Trials,
) -> dict[str, Any]:
    found: dict[str, Verification] = {name: verify(measured[name][features], trials) for name in conditions}
    return {
        "features": features,
        "num_features": measured[CLEAN][features].shape[1],
        "verification": [
            {"condition": name, "snr": conditions[name], "eer": one.eer, "min_dcf": one.min_dcf}
            for name, one in found.items()
        ],
    }


def _kept(run: Run, found: _Clips, score: SpeakerScore, started: float, quiet: bool) -> SpeakerScore:
    record = {
        "data": {"name": found.test.name, "path": found.path},
        "protocol": f"verification, {score.trials}",
        "seconds": time.perf_counter() - started,
    }
    with one_writer(run.folder, patience=FOR_OTHERS_SECONDS):
        content = {"rows": list(score.rows), "notes": list(score.notes)}
        file = RunFolder(run.folder).keep_evaluation(f"{found.test.name}-verification", record, content)
        with sparing_a_page(lambda message: Progress("evaluation", 0, quiet=quiet).say(message)):
            run.report()
    return replace(score, kept=file)
