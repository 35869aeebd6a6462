"""How fast a recipe runs on this machine and how much memory it takes: a few steps of the loop itself.

In a process of its own, so that no recipe inherits another's threads, caches or memory.
"""

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from barlow.data.subsets import subset
from barlow.modalities import load_training, modality_for
from barlow.recipes import Recipe
from barlow.runs.build import (
    build_backbone,
    build_method,
    build_plan,
    build_run_optimizer,
    build_views,
    fitted,
    learns_from_labels,
    memory_of,
    with_classes,
)
from barlow.runs.evidence import figures_during_training
from barlow.seams import Method, OnDevice, Source, Views, check_backbone
from barlow.training.engine import build_fabric, resolve_precision, under_autocast
from barlow.training.journal import Journal, read_journal
from barlow.training.machine import Machine
from barlow.training.pretrain import pretrain
from barlow.training.progress import StepProgress

WARM_UP = 5
"""Steps that are not counted: threads start, kernels are chosen, memory is taken."""
FEWEST, MOST = 10, 200
"""Steps that are counted."""
SECONDS = 12.0
"""About how long the counted steps should take together."""
TURNS = 3
"""How often each of several recipes is measured. One recipe measured four times within three minutes took 0.25 to
0.32 s a step on two shared cores, more than the recipes differ among themselves."""


@dataclass(frozen=True)
class Calibration:
    """What one recipe costs on one machine.

    Attributes:
        seconds_per_step: mean over `steps` steps.
        probe_seconds: of the figures that a run takes between epochs.
        peak_memory: bytes, of the process after these steps, or of the GPU; 0 where the system does not tell.
        num_samples: samples of the data.
        batch_size: samples per step, as fitted to the data.
    """

    seconds_per_step: float
    steps: int
    probe_seconds: float
    peak_memory: int
    num_samples: int
    batch_size: int

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass."""
        return max(1, self.num_samples // self.batch_size)

    @property
    def images_per_epoch(self) -> int:
        """Images seen in one pass."""
        return self.steps_per_epoch * self.batch_size

    def seconds(self, epochs: int | float, probe_every: int) -> float:
        """Return how long so many epochs will take."""
        probes = math.ceil(epochs / probe_every)
        return epochs * self.steps_per_epoch * self.seconds_per_step + probes * self.probe_seconds


def calibrate_in_turns(
    measures: Mapping[str, Callable[[], Calibration]],
    *,
    turns: int = TURNS,
    said: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, Calibration], dict[str, str]]:
    """Measure several recipes by turns and keep the fastest measurement of each, with its largest peak memory.

    What else runs on a machine only ever adds time, so the fastest is the nearest to the machine alone; and a slow
    quarter of an hour strikes all of them, not the one whose turn it is. `said` is told what is measured next. Returns
    also, of those that raised ValueError, why.
    """
    found: dict[str, Calibration] = {}
    refused: dict[str, str] = {}
    for turn in range(turns):
        for name, measure in measures.items():
            if name in refused:
                continue
            said(f"some steps of {name}, turn {turn + 1} of {turns}")
            try:
                one = measure()
            except ValueError as error:
                found.pop(name, None)
                refused[name] = str(error)
                continue
            others = [found[name]] if name in found else []
            fastest = min([one, *others], key=lambda cost: cost.seconds_per_step)
            found[name] = replace(fastest, peak_memory=max(cost.peak_memory for cost in [one, *others]))
    return found, refused


def calibrate_apart(
    recipe: Recipe,
    data: str,
    data_root: str | None,
    *,
    seconds: float = SECONDS,
    accelerator: str = Machine.accelerator,
    reading: Mapping[str, Any] | None = None,
) -> Calibration:
    """Calibrate a recipe in a new process, as `calibrate` does in this one; ValueError where it cannot run."""
    asked = json.dumps(
        {"data": data, "data_root": data_root, "seconds": seconds, "accelerator": accelerator}
        | {"recipe": asdict(recipe), "reading": dict(reading or {})}
    )
    command = [sys.executable, "-m", "barlow.runs.timing"]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise ValueError(f"recipe {recipe.name}: {reason.removeprefix('ValueError: ')}")
    return Calibration(**json.loads(done.stdout.splitlines()[-1]))


def calibrate(
    recipe: Recipe,
    data: str,
    data_root: str | None = None,
    *,
    seconds: float = SECONDS,
    accelerator: str = Machine.accelerator,
    reading: Mapping[str, Any] | None = None,
) -> Calibration:
    """Take a few steps of a recipe, fitted to the data, and measure them.

    `seconds` is about how long the counted steps should take together, `reading` what the user says of how the data are
    to be read. The memory is that of this process, whatever
    else has happened in it.
    """
    modality = modality_for(data)
    source = load_training(modality, data, data_root=data_root, recipe=recipe, **(reading or {}))
    machine = Machine(devices="1", accelerator=accelerator)
    recipe = with_classes(recipe, source) if learns_from_labels(recipe) else recipe
    recipe, facts = fitted(modality, resolve_precision(recipe, machine), source)
    views = build_views(modality, recipe, facts, memory_of(modality, recipe, facts, source))
    fabric = build_fabric(recipe, machine)
    fabric.launch()
    num_features = check_backbone(
        build_backbone(modality, recipe, facts), views.plain(next(source.batches([0, 1], 2)).samples)
    )

    def method() -> Method:
        torch.manual_seed(recipe.seed)
        return build_method(recipe, build_backbone(modality, recipe, facts), num_features)

    # The first look says how many steps the second one should have.
    first = seconds_of_steps(recipe, source, views, method(), fabric, 6)[2:]
    steps = int(min(max(seconds / max(statistics.median(first), 1e-3), FEWEST), MOST))
    measured = method()
    found = seconds_of_steps(recipe, source, views, measured, fabric, 1 + WARM_UP + steps)[WARM_UP:]
    represent = under_autocast(measured.eval().represent, fabric)
    figures = figures_during_training(represent, OnDevice(source, fabric.device), views)
    started = time.perf_counter()
    with torch.inference_mode():
        figures(0)
    return Calibration(
        seconds_per_step=statistics.fmean(found),
        steps=len(found),
        probe_seconds=time.perf_counter() - started,
        peak_memory=peak_memory(),
        num_samples=len(source),
        batch_size=recipe.batch_size,
    )


def peak_memory() -> int:
    """Return the most bytes this process has had at once, on the GPU if it used one, else resident; 0 if unknown."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")  # not getrusage: what it says a child inherits from its parent
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def seconds_of_steps(
    recipe: Recipe, source: Source, views: Views, method: Method, fabric: Fabric, steps: int
) -> list[float]:
    """Return the times of all steps but the first of a short run of the loop, as the recipe has them.

    KeyboardInterrupt where a signal asked to stop.
    """
    enough = subset(source, range(min(len(source), steps * recipe.batch_size)))
    epochs = -(-steps * recipe.batch_size // len(enough))
    short = replace(recipe, epochs=epochs)
    plan = build_plan(
        short,
        num_samples=len(enough),
        num_features=getattr(method.backbone, "num_features", 1),
        checkpoint_minutes=60.0,
    )
    optimizer = build_run_optimizer(recipe, method, fabric)
    if recipe.channels_last:
        method.to(memory_format=torch.channels_last)
    with tempfile.TemporaryDirectory() as name, Journal(Path(name) / "journal.jsonl") as journal:
        silent = StepProgress(epochs, quiet=True)
        finished = pretrain(
            enough, views, method, optimizer, plan,
            fabric=fabric, folder=Path(name), journal=journal, progress=silent,
        )  # fmt: skip
        if not finished:
            raise KeyboardInterrupt
        times = [record["time"] for record in read_journal(journal.path) if record["event"] == "step"]
    return [after - before for before, after in pairwise(times)]


def main() -> None:
    """Read the arguments of `calibrate` from stdin, print the Calibration; both are JSON."""
    asked: dict[str, Any] = json.loads(sys.stdin.read())
    found = calibrate(Recipe(**asked.pop("recipe")), **asked)
    sys.stdout.write(json.dumps(asdict(found)) + "\n")


if __name__ == "__main__":
    main()
