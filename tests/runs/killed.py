"""Work that is killed with SIGKILL at a chosen moment and done again: a run, a comparison, a study, a sequence.

As a program, `python -m tests.runs.killed FOLDER`, it carries each out once undisturbed, once killed at each of
`MOMENTS`, and prints which folders came of it. Moments are counted, not timed: before each record of the journal, in
the middle of it, and at each file that is synced, before and after it takes its place. torch is imported once, and
every sitting is a fork.
"""

import json
import os
import random
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import barlow
from barlow.evaluation import scores
from barlow.images import modality as imported_once  # noqa: F401
from barlow.recipes import Recipe
from barlow.report.study_page import Conclusion, Finding
from barlow.runs.compare import compare_recipes
from barlow.runs.timing import Calibration
from barlow.studies.cells import Cell, Finished
from barlow.studies.study import Settings, Study, carry_out
from barlow.training.journal import Journal
from barlow.training.machine import Machine

EVERY_STEP = Machine(accelerator="cpu", quiet=True, checkpoint_minutes=0.0)
"""A checkpoint after each step."""
SEED = 20261130
"""Of the moments."""
TRAINING, COMPARISON, STUDY = 5, 4, 4
"""Moments drawn of each; those of finishing are all taken."""
Work = Callable[[Path], Any]


SMALL: dict[str, Any] = {"backbone": "resnet10", "width": 2, "projector": "8-8", "batch_size": 32, "epochs": 2}


def recipe(name: str) -> Recipe:
    return replace(barlow.RECIPES["digits"](), name=name, precision="32-true", **SMALL)


def write_data(path: Path) -> Path:
    """Pictures in colour, so that the layout of the weights matters, of two kinds."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (64, 3, 12, 12), generator=generator).to(torch.uint8)
    np.savez(path, images=images.numpy(), labels=(torch.arange(64) % 2).numpy())
    return path


def a_run(data: Path, folder: Path) -> None:
    barlow.pretrain(data, recipe=recipe("digits"), out=folder, machine=EVERY_STEP)


def a_comparison(data: Path, folder: Path) -> None:
    def costs(recipe: Recipe, data: str, data_root: str | None) -> Calibration:
        return Calibration(0.2, 10, 0.0, 2**20, 64, recipe.batch_size)

    both = [recipe("one"), replace(recipe("two"), learning_rate=1e-3)]
    compare_recipes(data, both, seeds=1, images=64, out=folder, machine=EVERY_STEP, calibrate=costs)


def square(work: Path, value: int) -> dict[str, Any]:
    work.mkdir(parents=True, exist_ok=True)
    return {"square": value * value}


def concluded(cells: Any) -> Conclusion:
    found = [cell.metrics["square"] for cell in cells if isinstance(cell, Finished)]
    return Conclusion([Finding("C1", "Squares are squares.", "held", f"found {found}")], [])


def a_study(data: Path, folder: Path) -> None:
    cells = [Cell(f"cell-{value}", square, {"value": value}) for value in (1, 2, 3)]
    study = Study("Squares", "The paper says ...", lambda _: cells, concluded)
    carry_out("squares", study, Settings(str(data), "", 1, "quick"), folder, jobs=1, quiet=True)


def a_sequence(data: Path, folder: Path) -> None:
    pictures = np.load(data)["images"]
    halves = [torch.from_numpy(pictures[:32]), torch.from_numpy(255 - pictures[32:])]
    both = [barlow.ArraySource(half, name=name) for half, name in zip(halves, ("first", "second"), strict=True)]
    way = barlow.EWC(batches=2)
    numbers = replace(recipe("digits"), batch_size=8, epochs=1)
    barlow.pretrain_sequence(both, keep=way, recipe=numbers, out=folder, baselines=(), machine=EVERY_STEP)


def within_and_between_stages(moments: list[str]) -> list[int]:
    """A step of the first stage, what it leaves, a step of the second, and the results."""
    steps = [place for place, moment in enumerate(moments) if moment == "journal step"]
    named = [
        next(place for place, moment in enumerate(moments) if moment.startswith(f"sync {name}"))
        for name in ("fisher.safetensors", "results.json")
    ]
    return [steps[1], named[0], steps[-2], named[1]]


def cheap_arms(arms: Mapping[str, Any], *, class_names: Any, progress: Any = None) -> dict[str, Any]:
    """In place of the probes, which take seconds: figures that show a difference in the last digit of any feature."""
    rows = []
    for name, (train, test) in arms.items():
        figures = {"knn": _share(train.h), "linear": _share(test.h)}
        few = {"mean": _share(train.h.square()), "std": 0.0, "per_class": 1}
        rows.append({"features": name, "num_features": train.h.shape[1], **figures, "few_labels": few})
    counts = {"train_samples": len(train), "test_samples": len(test)}
    return {"classes": list(class_names), "rows": rows, **counts}


def _share(values: torch.Tensor) -> float:
    """A number in [0, 1) in which every digit of every value counts."""
    return float(values.double().sum().abs() % 1.0)


@dataclass
class Moments:
    """What a process does that lasts, by name; at the one numbered `kill_at` it dies."""

    kill_at: int = -1

    def __post_init__(self) -> None:
        self.passed: list[str] = []

    def reach(self, name: str) -> None:
        if len(self.passed) == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed.append(name)

    def install(self) -> None:
        write = Journal.write

        def sync(file: int) -> None:
            self.reach("sync " + Path(os.readlink(f"/proc/self/fd/{file}")).name)  # noqa: PTH115

        def in_two(journal: Journal, event: str, /, **fields: Any) -> None:
            self.reach(f"journal {event}")
            if journal.enabled and len(self.passed) == self.kill_at:
                with journal.path.open("ab") as file:
                    file.write(b'{"event": "' + event.encode())
            self.reach(f"half of journal {event}")
            write(journal, event, **fields)

        os.fsync = sync  # type: ignore[assignment]  # kills do not need the disk, and it is slow
        Journal.write = in_two  # type: ignore[method-assign]


def sitting(work: Work, folder: Path, *, kill_at: int = -1, told: Path | None = None) -> bool:
    """Do the work in a fork, killed at a moment; return whether it was. The moments passed go to the file `told`."""
    child = os.fork()
    if child == 0:
        try:
            random.seed(0)  # Python seeds it anew in every fork, and a checkpoint holds it
            moments = Moments(kill_at)
            moments.install()
            work(folder)
            if told is not None:
                told.write_text(json.dumps(moments.passed))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
        raise RuntimeError(f"{folder.name} ended with an error")
    return os.WIFSIGNALED(status)


def moments_of(work: Work, folder: Path) -> list[str]:
    """Carry it out undisturbed and return the moments it passes."""
    told = folder.with_suffix(".moments")
    sitting(work, folder, told=told)
    return list(json.loads(told.read_text()))


def killed_and_done(work: Work, folder: Path, moment: int) -> None:
    if not sitting(work, folder, kill_at=moment):
        raise RuntimeError(f"{folder.name} was not killed")
    sitting(work, folder)


def main(root: Path) -> None:
    """Make the folders <kind> (undisturbed) and <kind>-<moment>, and print the moments of each kind."""
    torch.set_num_threads(1)
    setattr(scores, "evaluate_arms", cheap_arms)  # noqa: B010
    data = write_data(root / "data.npz")
    draw = random.Random(SEED)
    said: dict[str, dict[str, str]] = {}
    kinds = {"run": (a_run, TRAINING), "comparison": (a_comparison, COMPARISON), "study": (a_study, STUDY)}
    for kind, (function, number) in kinds.items():
        work: Work = partial(function, data)
        moments = moments_of(work, root / kind)
        last = moments.index("journal finish") if kind == "run" else len(moments)
        drawn = sorted(draw.sample(range(last), number))
        for moment in drawn:
            killed_and_done(work, root / f"{kind}-{moment}", moment)
        said[kind] = {str(moment): moments[moment] for moment in drawn}
        if kind == "run":
            said[kind] |= _finishing(work, root, moments, last)
    sequence: Work = partial(a_sequence, data)
    moments = moments_of(sequence, root / "sequence")
    chosen = within_and_between_stages(moments)
    for moment in chosen:
        killed_and_done(sequence, root / f"sequence-{moment}", moment)
    said["sequence"] = {str(moment): moments[moment] for moment in chosen}
    sys.stdout.write(json.dumps(said))


def _finishing(work: Work, root: Path, moments: list[str], last: int) -> dict[str, str]:
    """Kill it at each moment after the last step: from one folder that has come so far, for the steps are the same."""
    sitting(work, root / "trained", kill_at=last)
    told = root / "trained.moments"
    shutil.copytree(root / "trained", root / "trained-on")
    sitting(work, root / "trained-on", told=told)
    after = json.loads(told.read_text())
    begin = after.index("journal finish")
    for moment in range(begin, len(after)):
        shutil.copytree(root / "trained", root / f"run-{last + moment}")
        killed_and_done(work, root / f"run-{last + moment}", moment)
    return {str(last + moment): after[moment] for moment in range(begin, len(after))}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
