"""Where else the journal of a run goes while it is written: callbacks of the user's own, and programs that follow runs.

Nothing is sent anywhere unless `log_to` names it: TensorBoard writes into the run folder, the others go where their own
settings say (WANDB_MODE, MLFLOW_TRACKING_URI, ...). `journal.jsonl` is complete in any case.
"""

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from barlow.errors import unknown
from barlow.training.journal import Listener, Record, read_journal, scalars

PROJECT = "barlow"
"""Under which runs are listed where a program asks for a project."""


class Tracker(Protocol):
    """A listener of the journal that is closed at the end."""

    def __call__(self, record: Record) -> None:
        """Take one record."""
        ...

    def close(self) -> None:
        """Finish."""
        ...


class Tensorboard:
    """Writes the numbers of each record at its step into `folder/tensorboard`; records without a step have none."""

    def __init__(self, folder: Path, numbers: Mapping[str, Any] | None = None) -> None:
        self._writer: Any = _loaded("tensorboard", "tensorboard.summary").Writer(str(folder / "tensorboard"))

    def __call__(self, record: Record) -> None:
        """Write the scalars of one record."""
        for tag, value in scalars(record).items():
            self._writer.add_scalar(tag, value, record["step"], wall_time=record["time"])
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class _LikeWandb:
    """Sends the numbers of each record to a program with the functions of wandb: init, log and finish."""

    name = "wandb"

    def __init__(self, folder: Path, numbers: Mapping[str, Any] | None = None) -> None:
        self._module: Any = _loaded(self.name)
        self._module.init(project=PROJECT, name=folder.name, config=dict(numbers or {}), **self.place(folder))

    def place(self, folder: Path) -> dict[str, Any]:
        """Return how a run that goes on is known again, and where files lie."""
        known = hashlib.sha1(str(folder.resolve()).encode()).hexdigest()[:16]
        return {"id": known, "resume": "allow", "dir": str(folder)}

    def __call__(self, record: Record) -> None:
        """Send the scalars of one record."""
        if found := scalars(record):
            self._module.log(found, step=record["step"])

    def close(self) -> None:
        """Finish the run there."""
        self._module.finish()


class Trackio(_LikeWandb):
    """The same to trackio, which knows a run by its name."""

    name = "trackio"

    def place(self, folder: Path) -> dict[str, Any]:
        """Return how a run that goes on is known again."""
        return {"resume": "allow"}


class Mlflow:
    """Sends the numbers of each record to MLflow, and those of the recipe as parameters."""

    def __init__(self, folder: Path, numbers: Mapping[str, Any] | None = None) -> None:
        self._module: Any = _loaded("mlflow")
        self._module.set_experiment(PROJECT)
        self._module.start_run(run_name=folder.name)
        self._module.log_params(dict(numbers or {}))

    def __call__(self, record: Record) -> None:
        """Send the scalars of one record."""
        if found := scalars(record):
            self._module.log_metrics(found, step=record["step"])

    def close(self) -> None:
        """End the run there."""
        self._module.end_run()


TRACKERS: dict[str, Callable[[Path, Mapping[str, Any] | None], Tracker]] = {
    "tensorboard": Tensorboard,
    "wandb": _LikeWandb,
    "mlflow": Mlflow,
    "trackio": Trackio,
}


def tracker_names(log_to: str) -> list[str]:
    """Return the programs of `--log-to tensorboard,wandb`; ValueError for one that is unknown or not installed."""
    names = [name.strip() for name in log_to.split(",") if name.strip()]
    for name in names:
        if name not in TRACKERS:
            raise unknown("log_to", name, TRACKERS)
        if find_spec(name) is None:
            raise ValueError(_missing(name, "it is not installed"))
    return names


class Listeners:
    """All that is told of a run's records: callbacks, whose errors are the run's, and trackers, whose errors are not.

    Trackers start with the first record: a run that is finished already starts none.
    """

    def __init__(
        self, callbacks: Sequence[Listener] = (), log_to: str = "", *, folder: Path, numbers: Mapping[str, Any]
    ) -> None:
        self._callbacks = list(callbacks)
        self._asked = tracker_names(log_to)
        self._trackers: dict[str, Tracker] = {}
        self._folder, self._numbers = folder, numbers

    def __call__(self, record: Record) -> None:
        """Tell everybody of one record. A tracker that fails is told nothing more, and one warning says so."""
        for callback in self._callbacks:
            callback(record)
        for name in list(self._asked):
            try:
                if name not in self._trackers:
                    self._trackers[name] = TRACKERS[name](self._folder, self._numbers)
                self._trackers[name](record)
            except Exception as error:  # anybody's network
                self._asked.remove(name)
                reason = next(iter(str(error).splitlines()), type(error).__name__)
                warnings.warn(f"log_to: {name} failed ({reason}); the run goes on without it", stacklevel=2)

    def close(self) -> None:
        """Close the trackers, and the callbacks that have `close`."""
        for listener in (*self._callbacks, *self._trackers.values()):
            if close := getattr(listener, "close", None):
                close()

    def __enter__(self) -> "Listeners":
        """Return the listeners themselves."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close them."""
        self.close()


def replay_journal(path: Path, listener: Listener) -> None:
    """Tell a listener of a whole journal, of a finished run for one, oldest record first."""
    for record in read_journal(path):
        listener(record)


def _loaded(name: str, module: str = "") -> Any:
    try:
        return import_module(module or name)
    except ImportError as error:
        raise ValueError(_missing(name, f"cannot be loaded: {error}")) from error


def _missing(name: str, reason: str) -> str:
    return f"log_to: got {name!r}, but {reason}; pip install 'barlow[{name}]'"
