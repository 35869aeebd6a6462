"""The files of a run, from `recipe.json` to `summary.json`, and what may not change once a folder is begun."""

import itertools
import json
import os
import platform
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from barlow.files import read_json, require_own, write_json
from barlow.methods.table import options_in
from barlow.recipes import ABOUT, Recipe, flat, up_to_date
from barlow.report.run_folder import RunFiles, is_run, read_run
from barlow.runs.identity import is_known, samples_differ
from barlow.training.journal import Journal
from barlow.training.weights import WEIGHTS
from barlow.writers import LOCK

OWN_FILES = (
    *("recipe.json", "journal.jsonl", "summary.json", "evidence.npz", "report.html", "audit.json", "audit.html"),
    *("checkpoints", "evaluations", "features", "tensorboard", "wandb"),
)
"""What a run writes to its folder, or reads there."""
LEFT_BY_FINISHING = (f"checkpoints/{WEIGHTS}", "evidence.npz", "report.html", "summary.json")
"""In the order in which they are written: the last one says that nothing is left to do."""
VERSIONS = ("barlow", "torch", "torchvision", "timm", "lightning-fabric", "scikit-learn", "numpy")
"""Packages whose version may change a run's numbers."""
SAME_STATISTICS = 0.003
"""Of pixels in [0, 1]: about what one image in a hundred changes that can no longer be read."""
PLACE = (
    *("path", "path_from_here", "data_root", "test", "test_from_here", "identity", "test_identity"),
    *("start_from", "start_from_from_here"),
)
"""Facts that say where the data are, and by what they are found again."""
MAY_DIFFER = (*PLACE, "labels", "objects", "noun", "input_shape", "num_classes")
"""Facts that tell no other data: they may have moved, and labels may have come; samples are compared by themselves."""
ONLY_SOME = ("start_weights", "wrap")
"""Facts that only some runs have: with and without one are two runs."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run; made when the first file is written."""

    path: Path

    def __post_init__(self) -> None:
        """Take `~` for the home folder, wherever the path was typed."""
        object.__setattr__(self, "path", self.path.expanduser())

    @property
    def checkpoints(self) -> Path:
        """Where the complete state and the backbone are."""
        return self.path / "checkpoints"

    @property
    def journal(self) -> Path:
        """The only log."""
        return self.path / "journal.jsonl"

    @property
    def features(self) -> Path:
        """Where files of features go."""
        return self.path / "features"

    def begun(self) -> bool:
        """Whether a step of this run is on record, so that its recipe and data are settled."""
        return (self.checkpoints / "last.ckpt").exists() or bool(self.files().events("step"))

    def start(
        self, recipe: Recipe, data: Mapping[str, Any], *, statistics: Collection[str] = (), write: bool = True
    ) -> None:
        """Write `recipe.json`, or check that it says the same when the run has begun before (RecipeChangedError).

        What was refused at its first step, or killed before its first record, may be started anew. `statistics` are the
        facts that may differ a little, for a file of the data may have broken. Where the data moved, the new place is
        kept. `write` is False on all processes but the first, which check only.
        """
        if (self.path / "recipe.json").exists() and self.begun():
            differences = changed_numbers(self.recipe(), recipe)
            differences += data_differences(self.data(), data, statistics)
            if differences:
                raise RecipeChangedError(differences)
            if write and is_known(data):
                self.remember({key: data[key] for key in PLACE if data.get(key)})
            return
        if write:
            self.write("recipe.json", {"recipe": asdict(recipe), "data": dict(data), "versions": versions()})

    def remember(self, place: Mapping[str, Any]) -> None:
        """Keep where the data are now; nothing is written where that is known, or where it cannot be."""
        content = self._recipe_file()
        if any(content["data"].get(key) != value for key, value in place.items()) and os.access(self.path, os.W_OK):
            self.write("recipe.json", content | {"data": content["data"] | place})

    def recipe(self) -> Recipe:
        """Return the recipe of the run; ValueError where this version does not know a field, or a value is none."""
        given = up_to_date(self._recipe_file()["recipe"])
        unknown = sorted(given.keys() - {field.name for field in fields(Recipe)})
        if unknown:
            raise ValueError(f"folder: the recipe in {str(self.path)!r} has unknown fields: {', '.join(unknown)}")
        try:
            return Recipe(**given)
        except ValueError as error:
            raise ValueError(f"folder: {str(self.path / 'recipe.json')!r}: {error}") from error

    def data(self) -> dict[str, Any]:
        """Return what `recipe.json` says of the data."""
        return dict(self._recipe_file()["data"])

    def summary(self) -> dict[str, Any]:
        """Return the final figures, empty when there are none yet."""
        return dict(self.files().summary)

    def finished(self) -> bool:
        """Whether the last step was reached."""
        return self.files().finished

    def undone(self) -> list[str]:
        """Name what finishing has not left here, in the order in which it would."""
        return [name for name in LEFT_BY_FINISHING if not (self.path / name).is_file()]

    def require_own_files(self) -> None:
        """Refuse (ValueError) a folder whose files are links out of it, pipes or devices: see `why_not_own`."""
        for name in OWN_FILES:
            require_own(self.path / name, self.path)
            if (self.path / name).is_dir():
                for file in (self.path / name).iterdir():
                    require_own(file, self.path)

    def files(self) -> RunFiles:
        """Return what the folder holds now, but for the arrays of its page; nothing where there is no run."""
        return read_run(self.path, arrays=False) if is_run(self.path) else RunFiles(self.path)

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file, durably."""
        write_json(self.path / name, content)

    def keep_evaluation(self, title: str, record: Mapping[str, Any], evaluation: Mapping[str, Any]) -> Path:
        """Write an evaluation to a file of its own, `evaluations/<title>.json`, and its rows into the journal.

        The title names the data and what was measured. `record` goes into both, "data" with its "path" among it: what
        was measured on the same samples there before is replaced. Data without a path may be others each time, so there
        only equal figures share a file. Others get "-2", "-3", ... behind the title.
        """
        content = json.loads(json.dumps({**record, "evaluation": evaluation}))
        title = file_name_of(title)
        endings = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
        names = (f"evaluations/{title}{ending}.json" for ending in endings)
        name = next(name for name in names if _may_replace(self.path / name, content))
        self.write(name, content)
        with Journal(self.journal) as journal:
            journal.write("evaluation", **record, rows=evaluation["rows"], file=name)
        return self.path / name

    def _recipe_file(self) -> dict[str, Any]:
        path = self.path / "recipe.json"
        require_own(path, self.path)
        if not path.exists():
            raise ValueError(f"folder: got {str(self.path)!r}, wanted a run folder with recipe.json")
        try:
            content = read_json(path)
        except ValueError as error:
            what = f"is no JSON ({error})" if path.stat().st_size else "is empty"
        else:
            parts = [content.get(name) for name in ("recipe", "data")] if isinstance(content, dict) else []
            if parts and all(isinstance(part, dict) for part in parts):
                return dict(content)
            what = "has no recipe and data"
        raise ValueError(
            f"folder: {str(path)!r} {what}, wanted what pretrain wrote: put it back from a copy (its recipe and data "
            'are also in the event "start" of journal.jsonl), or start anew in another folder'
        )


def file_name_of(title: str) -> str:
    """Return a name for a file or a folder that tells as much as a title does."""
    return re.sub(r"[^\w.=+-]+", "-", title).strip("-.") or "unnamed"


def _may_replace(path: Path, content: Mapping[str, Any]) -> bool:
    """Whether there is no such file, or one of the same data; a file that cannot be read is none of ours."""
    if not path.exists():
        return True
    try:
        old = read_json(path)
        same_figures = old["evaluation"] == content["evaluation"]
        same_data = old["data"] == content["data"] and old.get("identity", "") in ("", content.get("identity", ""))
        return bool(same_data and (content["data"]["path"] or same_figures))
    except (ValueError, KeyError, TypeError):
        return False


def changed_numbers(old: Recipe, new: Recipe) -> list[str]:
    """Name what tells two recipes apart, as `recipe_differences`; an option that is not said has its default."""
    both = (flat(asdict(recipe) | {"options": options_in(recipe)}) for recipe in (old, new))
    return recipe_differences(*both, may_change=ABOUT)


def data_differences(old: Mapping[str, Any], new: Mapping[str, Any], statistics: Collection[str] = ()) -> list[str]:
    """Name what tells two data sets apart; what only one of the two records does not count.

    Where samples tell that they are the same, their folder or file may have another name.
    """
    renamed = ("name",) if is_known(old) and is_known(new) else ()
    exact = [key for key in new if key in old and key not in (*MAY_DIFFER, *statistics, *renamed)]
    found = recipe_differences({key: old[key] for key in exact}, {key: new[key] for key in exact})
    for key in ONLY_SOME:
        if key not in exact and old.get(key, "") != new.get(key, ""):
            found.append(f"{key} was {old.get(key, '')!r}, now {new.get(key, '')!r}")
    for key, place in (("identity", "path"), ("test_identity", "test")):
        if not found and (others := samples_differ(old, new, key)):  # of other numbers other ones are looked at
            known = " and ".join(f"{facts[place]}" for facts in (old, new) if facts.get(place))
            found.append(f"{others} ({known})" if known else others)
    for key in statistics:
        before, now = old.get(key), new.get(key)
        if before and now and not found and not np.allclose(before, now, rtol=0, atol=SAME_STATISTICS):
            paths = [f" ({one['path']})" if one.get("path") else "" for one in (old, new)]
            found.append(f"{key} of the data was {_rounded(before)}{paths[0]}, now {_rounded(now)}{paths[1]}")
    return found


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(float(value), 4) for value in values]


class RecipeChangedError(ValueError):
    """A run was to be resumed with another recipe than it was started with."""

    def __init__(self, differences: list[str]) -> None:
        """Name the fields: what `recipe_differences` returned, not empty."""
        self.differences = differences
        super().__init__(
            "recipe: this run was started with other values, and resuming would mix two runs: "
            + "; ".join(differences)
            + ". Resume with the old values, or start anew in another folder"
        )

    def __reduce__(self) -> tuple[type["RecipeChangedError"], tuple[list[str]]]:
        """Go between processes as what it was made of, not as its sentence."""
        return type(self), (self.differences,)


class _Absent:
    def __repr__(self) -> str:
        return "absent"


_ABSENT = _Absent()


def recipe_differences(
    old: Mapping[str, Any], new: Mapping[str, Any], *, may_change: Collection[str] = ()
) -> list[str]:
    """Return the fields that differ between two recipes, or other settings, each with its old and its new value.

    `old` is as JSON gives it back; fields in `may_change` decide no number. One line per field, in the order of `new`.
    """
    found = []
    for name in dict.fromkeys([*new, *old]):
        before, now = (_as_json(fields[name]) if name in fields else _ABSENT for fields in (old, new))
        if before != now and name not in may_change:
            found.append(f"{name} was {before!r}, now {now!r}")
    return found


def _as_json(value: Any) -> Any:
    """A value as it comes back from JSON, which knows lists only."""
    return [_as_json(item) for item in value] if isinstance(value, list | tuple) else value


def started_with(folder: Path, name: str, settings: Mapping[str, Any], whose: str) -> dict[str, Any]:
    """Return what the file `name` in a folder says the folder was started with, empty where the folder is new.

    ValueError: the folder holds something else (the message says `whose` it may be), or was started with other
    settings.
    """
    path = folder / name
    if not path.exists():
        if folder.exists() and any(file.name != LOCK for file in folder.iterdir()):
            raise ValueError(f"out: {str(folder)!r} holds something else, wanted a new folder or {whose}")
        return {}
    content = dict(read_json(path))
    old = {key: content.get(key) for key in settings}
    for key in ("data", "data_root"):  # as they were typed, in folders made before places were whole paths
        if old.get(key) and str(Path(str(old[key])).expanduser().resolve()) == settings[key]:
            old[key] = settings[key]
    differences = recipe_differences(old, settings)
    if differences:
        raise ValueError(
            f"out: {str(folder)!r} was started with other settings: {'; '.join(differences)}. "
            "Go on with the old ones, or choose another folder"
        )
    return content


def versions() -> dict[str, str]:
    """Return the versions of what a run's numbers may depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in VERSIONS}


def training_time(journal: Path) -> dict[str, float]:
    """Return the seconds of training over all sittings of a run, and the mean rate, from the journal's times."""
    files = RunFolder(journal.parent).files()
    seconds = files.seconds_of_training()
    start = next(iter(files.events("start")), {})
    steps = next((record["step"] for record in files.events("finish")), start.get("total_steps", 0))
    samples = steps * start.get("recipe", {}).get("batch_size", 0)
    return {"pretrain_seconds": seconds, "samples_per_second": samples / seconds if seconds else 0.0}


def objects_among(**given: Any) -> dict[str, str]:
    """Return the class of each argument that is an object, or the class or function that it is: argument -> name."""
    return {
        name: getattr(one, "__name__", type(one).__name__)
        for name, one in given.items()
        if one is not None and not _is_name(one)
    }


def _is_name(given: Any) -> bool:
    return isinstance(given, (str, Path))
