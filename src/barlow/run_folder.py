"""The files of a run, from `recipe.json` to `summary.json`, and what may be in them."""

import itertools
import json
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from barlow.recipes import ABOUT, Recipe
from barlow.training.checkpoint import RecipeChangedError, recipe_differences
from barlow.training.durable_file import durable_file
from barlow.training.journal import Journal, read_journal

VERSIONS = ("barlow", "torch", "torchvision", "timm", "lightning-fabric", "scikit-learn", "numpy")
"""Packages whose version may change a run's numbers."""
SAME_STATISTICS = 0.003
"""Of pixels in [0, 1]: about what one picture in a hundred changes that can no longer be read."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run.

    Attributes:
        path: where it is; made when the first file is written.
    """

    path: Path

    @property
    def checkpoints(self) -> Path:
        """Where the complete state and the backbone are."""
        return self.path / "checkpoints"

    @property
    def journal(self) -> Path:
        """The only log."""
        return self.path / "journal.jsonl"

    def begun(self) -> bool:
        """Whether a step of this run is on record, so that its recipe and data are settled."""
        if (self.checkpoints / "last.ckpt").exists():
            return True
        return self.journal.exists() and any(record["event"] == "step" for record in read_journal(self.journal))

    def start(self, recipe: Recipe, data: Mapping[str, Any], *, write: bool = True) -> None:
        """Write `recipe.json`, or check that it says the same when the run has begun before.

        A run that was refused at its first step, or killed before its first record, binds nobody.

        Args:
            recipe: with all its numbers settled.
            data: facts of the data.
            write: False on all processes but the first, which check only.

        Raises:
            RecipeChangedError: a field differs; names each with its old and new value.
        """
        if (self.path / "recipe.json").exists() and self.begun():
            differences = recipe_differences(asdict(self.recipe()), asdict(recipe), may_change=ABOUT)
            differences += _data_differences(self.data(), data)
            if differences:
                raise RecipeChangedError(differences)
            return
        if write:
            self.write("recipe.json", {"recipe": asdict(recipe), "data": dict(data), "versions": versions()})

    def recipe(self) -> Recipe:
        """Return the recipe of the run.

        Raises:
            ValueError: no run here, or one with fields that this version does not know.
        """
        given = self._recipe_file()["recipe"]
        unknown = sorted(given.keys() - {field.name for field in fields(Recipe)})
        if unknown:
            raise ValueError(f"folder: the recipe in {str(self.path)!r} has unknown fields: {', '.join(unknown)}")
        return Recipe(**given)

    def data(self) -> dict[str, Any]:
        """Return what `recipe.json` says of the data."""
        return dict(self._recipe_file()["data"])

    def summary(self) -> dict[str, Any]:
        """Return the final figures, empty when there are none yet."""
        path = self.path / "summary.json"
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}

    def finished(self) -> bool:
        """Whether the last step was reached."""
        return self.journal.exists() and any(record["event"] == "finish" for record in read_journal(self.journal))

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file aside, then rename it."""
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        with durable_file(self.path / name) as file:
            file.write(json.dumps(content, indent=1).encode())

    def keep_evaluation(self, title: str, record: Mapping[str, Any], evaluation: Mapping[str, Any]) -> Path:
        """Write an evaluation to a file of its own, `evaluations/<title>.json`, and its rows into the journal.

        Args:
            title: name of the data and what was measured.
            record: what goes into both, "data" with its "path" among it: what was measured on the same path before
                is replaced. Of data without a path nobody knows whether they are the same, so there only equal figures
                share a file. Others get "-2", "-3", ... behind the title.
            evaluation: as in `summary.json`.

        Returns:
            The file.
        """
        content = json.loads(json.dumps({**record, "evaluation": evaluation}))
        title = re.sub(r"[^\w.=+]+", "-", title).strip("-.")
        endings = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
        names = (f"evaluations/{title}{ending}.json" for ending in endings)
        name = next(name for name in names if _may_replace(self.path / name, content))
        self.write(name, content)
        with Journal(self.journal) as journal:
            journal.write("evaluation", **record, rows=evaluation["rows"], file=name)
        return self.path / name

    def _recipe_file(self) -> dict[str, Any]:
        path = self.path / "recipe.json"
        if not path.exists():
            raise ValueError(f"folder: got {str(self.path)!r}, wanted a run folder with recipe.json")
        return dict(json.loads(path.read_text(encoding="utf-8")))


def _may_replace(path: Path, content: Mapping[str, Any]) -> bool:
    """Whether there is no such file, or one of the same data; a file that cannot be read is none of ours."""
    if not path.exists():
        return True
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        same_figures = old["evaluation"] == content["evaluation"]
        return bool(old["data"] == content["data"] and (content["data"]["path"] or same_figures))
    except (ValueError, KeyError, TypeError):
        return False


def _data_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Name what tells two data sets apart: name, size, and the means and deviations of the channels.

    The path may differ, for the data may have moved; the statistics may differ a little, for a file may have broken.
    """
    facts = {key: new[key] for key in ("name", "num_samples", "image_shape") if key in new}
    found = recipe_differences({key: old.get(key) for key in facts}, facts)
    for key in ("mean", "std"):
        before, now = old.get(key), new.get(key)
        if before and now and not found and not np.allclose(before, now, rtol=0, atol=SAME_STATISTICS):
            paths = [f" ({one['path']})" if one.get("path") else "" for one in (old, new)]
            found.append(f"{key} of the pixels was {_rounded(before)}{paths[0]}, now {_rounded(now)}{paths[1]}")
    return found


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(float(value), 4) for value in values]


def versions() -> dict[str, str]:
    """Return the versions of what a run's numbers may depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in VERSIONS}


def training_time(journal: Path) -> dict[str, float]:
    """Return the seconds of training over all sittings of a run, and the mean rate, from the journal's times.

    What a kill threw away and a resume made again counts once; the time between sittings does not count.
    """
    records = read_journal(journal)
    last = next((place for place, record in enumerate(records) if record["event"] == "finish"), len(records) - 1)
    pairs = pairwise(records[: last + 1])
    seconds = sum(
        after["time"] - before["time"] for before, after in pairs if after["event"] not in ("resume", "start")
    )
    start = next((record for record in records if record["event"] == "start"), {})
    samples = start.get("total_steps", 0) * start.get("recipe", {}).get("batch_size", 0)
    return {"pretrain_seconds": seconds, "samples_per_second": samples / seconds if seconds else 0.0}
