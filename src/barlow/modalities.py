"""The modalities by name, and which one some data are of: the one place where the core names any of them."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from barlow.data.labels import UNLABELLED
from barlow.data.name_pattern import is_pattern
from barlow.data.stored.formats import is_elsewhere, is_there
from barlow.data.subsets import labelled_by_names, relabelled
from barlow.errors import unknown
from barlow.seams import Facts, Modality, Source


def _images() -> Modality:
    from barlow.images.modality import IMAGES

    return IMAGES


def _graphs() -> Modality:
    from barlow.graphs.modality import GRAPHS

    return GRAPHS


def _graph_sets() -> Modality:
    from barlow.graphs.modality import GRAPH_SETS

    return GRAPH_SETS


def _load_nothing(data: Any, **_: Any) -> Source:
    raise ValueError(f"data: got {data!r}, wanted a Source: samples of no known modality have no other form")


SAMPLES = Modality(name="samples", noun="sample", load=_load_nothing)
"""Samples of which nothing is known: a `Source`, views and a network, all of them the user's own objects."""


def _audio() -> Modality:
    from barlow.audio.modality import AUDIO

    return AUDIO


MODALITIES: dict[str, Callable[[], Modality]] = {
    "graphs": _graphs,
    "graph-sets": _graph_sets,
    "audio": _audio,
    "images": _images,
    "samples": lambda: SAMPLES,
}
"""Name -> the modality, loaded when it is asked for; asked in this order whether data are theirs."""


def modality_named(modality: str | Modality) -> Modality:
    """Return a modality by name or from a Python file, "FILE.py:NAME"; an object is returned as it is."""
    if isinstance(modality, Modality):
        if modality.name in MODALITIES and MODALITIES[modality.name]() is not modality:
            raise ValueError(f"modality: the name {modality.name!r} is taken, wanted another one for your own")
        return modality
    path, _, name = modality.rpartition(":")
    if path.endswith(".py"):
        return _from_file(Path(path).expanduser(), name)
    if modality not in MODALITIES:
        raise unknown("modality", modality, MODALITIES)
    return MODALITIES[modality]()


def _from_file(path: Path, name: str) -> Modality:
    """Run a file that the user has typed, never one that a run folder names."""
    if not path.is_file():
        raise ValueError(f"modality: there is no file {str(path)!r}")
    found = runpy.run_path(str(path)).get(name)
    if not isinstance(found, Modality):
        raise ValueError(
            f"modality: got {type(found).__name__} for {name!r} in {str(path)!r}, wanted a barlow.Modality"
        )
    return found


def modality_for(data: Any, *, modality: str | Modality | None = None, own_views: bool = False) -> Modality:
    """Return the modality of some data: the first of `MODALITIES` that accepts them, unless `modality` settles it.

    Where none does it is that of images, whose loader says what is wanted. With `own_views` (views came as an object) a
    `Source` may hold anything.
    """
    if modality is not None:
        return modality_named(modality)
    if own_views and isinstance(data, Source):
        return SAMPLES
    known = [make() for make in MODALITIES.values()]
    if isinstance(data, str) and (owner := next((one for one in known if data in one.named), None)):
        return owner  # a folder of the same name is reached as ./name
    return next((one for one in known if one.accepts(data)), _images())


def modality_of(facts: Facts, modality: str | Modality | None = None) -> Modality:
    """Return the modality of a run, which the facts of its data name unless `modality` does.

    Facts of runs made before modalities had names tell by their shape. A modality of the user's own has to be passed
    again.
    """
    if modality is not None:
        return modality_named(modality)
    name = facts.get("modality") or ("images" if "image_shape" in facts else "samples")
    if name not in MODALITIES:
        raise ValueError(f"modality: the run is of modality {name!r}, which is an object of its own; pass it again")
    return MODALITIES[name]()


def said(**reading: Any) -> dict[str, Any]:
    """Return what a user has said of how data are to be read, by name; what is None or empty was left open."""
    return {name: value for name, value in reading.items() if value is not None and value != ""}


def load_training(
    modality: Modality, data: Any, *, facts: Facts | None = None, labels: Any = "auto", **asked: Any
) -> Source:
    """Load what a run learns from, as `load_samples` does.

    `facts` are those of `Modality.reading`, where a run goes on; whether data suit it is seen by comparing all of them.
    """
    source = data
    if not isinstance(data, Source):
        source = modality.load(data, facts=facts, labels=_but_patterns(labels), min_samples=2, **asked)
    return load_samples(modality, source, labels=labels)


def load_samples(
    modality: Modality,
    data: Any,
    *,
    facts: Facts | None = None,
    labels: Any = "auto",
    min_samples: int = 2,
    **asked: Any,
) -> Source:
    """Load data of a modality, as `Modality.load` does; a `Source` is taken as it is.

    `facts` are of the run whose network the samples are for; None: for training. `labels` is "auto", "required",
    "none", one label per sample, or a pattern of names that tells labels and groups: "{label}_{group}_*".
    """
    if isinstance(data, Source):
        source = data
        if isinstance(labels, str) and labels == "required" and source.labels is None:
            raise ValueError(f"labels: required, but the source {source.name} has none")
    else:
        source = modality.load(data, facts=facts, labels=_but_patterns(labels), min_samples=min_samples, **asked)
    if is_pattern(labels):
        source = labelled_by_names(source, labels)
    dropped = labels is None or (isinstance(labels, str) and labels == "none")
    if dropped and source.labels is not None:  # of an object, or of a loader that took no notice
        source = relabelled(source, UNLABELLED)
    if facts:
        modality.suits(source, facts)
    return source


def _but_patterns(labels: Any) -> Any:
    """What a modality is asked for: patterns are read here, for data of all kinds alike."""
    return "none" if is_pattern(labels) else labels


def splits_of(modality: Modality, data: Any) -> tuple[str, ...]:
    """Return the names of the splits that some data have; ("train",) where there is nothing else."""
    return ("train",) if isinstance(data, Source) else tuple(modality.splits(data))


def place_of(modality: Modality, data: Any) -> str:
    """Return what tells data from others of the same name: a known name or the whole path; "" for an object."""
    if not isinstance(data, (str, Path)):
        return ""
    if isinstance(data, str) and (data in modality.named or is_elsewhere(data)):
        return data
    return str(Path(data).expanduser().resolve())


def place_to_keep(modality: Modality, data: Any) -> str:
    """Return the place of some data as a record has it that is read from elsewhere: whole, where it is on the disk.

    What is not stays as it was typed, for a modality of one's own may know names that it does not tell.
    """
    place = place_of(modality, data)
    return place if not place or place in modality.named or is_there(place) else str(data)


def fetch(modality: Modality, data: Any, data_root: str | Path | None) -> None:
    """Fetch every split of data that are known by name into `data_root`, where they are not there."""
    for split in splits_of(modality, data):
        load_samples(modality, data, split=split, data_root=data_root, labels="none", download=True)
