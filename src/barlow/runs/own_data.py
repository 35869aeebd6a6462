"""Finding the data of a run again, from wherever it is opened and wherever they have gone."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from barlow.data.stored.formats import is_elsewhere, is_there
from barlow.data.subsets import without_held_out
from barlow.modalities import load_samples, place_of, place_to_keep
from barlow.recipes import Recipe
from barlow.runs.build import fitted
from barlow.runs.folder import RunFolder, data_differences
from barlow.runs.identity import identity_of, is_known
from barlow.seams import Modality


def place_facts(modality: Modality, data: Any, folder: Path, key: str = "path") -> dict[str, str]:
    """Return what `recipe.json` says of the place of some data: a known name or the whole path, "" for an object.

    What lies on a disk is also said as seen from the run folder, so that both can be moved together.
    """
    place = place_to_keep(modality, data)
    facts = {key: place}
    if Path(place).is_absolute():
        with suppress(ValueError):  # on Windows, from one drive to another
            facts[f"{key}_from_here"] = os.path.relpath(place, folder.resolve())
    return facts


def places(where: RunFolder, modality: Modality, key: str = "path") -> list[str]:
    """Return where the data of a run may lie: as a whole path, and as seen from the run folder where it is now.

    Of runs made before paths were whole ones: as seen from here, and from each folder that the run folder is in.
    """
    facts, folder = where.data(), where.path.resolve()
    place = str(facts.get(key) or "")
    if not place or place in modality.named or is_elsewhere(place):
        return [place] if place else []
    if Path(place).is_absolute():
        relative = facts.get(f"{key}_from_here")
        return list(dict.fromkeys([place, *([os.path.normpath(folder / relative)] if relative else [])]))
    typed = Path(place).expanduser()
    return list(dict.fromkeys(str((start / typed).resolve()) for start in (Path.cwd(), *folder.parents)))


def own_data(where: RunFolder, modality: Modality, *, moved_to: Any = None, data_root: str | Path | None = None) -> str:
    """Return where the data of a run lie, once it is sure that what lies there is what it learned from.

    Args:
        where: the run.
        modality: of its data.
        moved_to: where they are now, if that is none of the places that the run knows.
        data_root: where named data sets live; None: where they did.

    Raises:
        ValueError: nothing is left in these places, or other data; the message says where the run looked and what
            differs.
    """
    facts = where.data()
    if place := str(facts.get("path") or ""):
        if moved_to is None and place in modality.named:
            return place
        candidates = [place_of(modality, moved_to)] if moved_to is not None else places(where, modality)
        there = [one for one in candidates if is_there(one)]
        if not there and moved_to is None and not Path(place).is_absolute():
            return place  # a name that only its modality knows
        looked = [f"{one} (nothing is there)" for one in candidates if one not in there]
        for one in there:
            if not (found := differences(where, modality, one, data_root)):
                return one
            looked.append(f"{one} (other data: {'; '.join(found)})")
        raise ValueError(_not_found(where, looked))
    raise ValueError(f"data: the run in {str(where.path)!r} was given its data as an object; pass it again (data=...)")


def _not_found(where: RunFolder, looked: list[str]) -> str:
    facts = where.data()
    return (
        f"data: the run in {str(where.path)!r} learned from {facts.get('num_samples', 'some')} "
        f"{facts.get('noun', 'sample')}s called {facts.get('name', '')!r}; "
        f"looked for them in {' and in '.join(looked)}. "
        "Say where they are now: --data PATH on the command line, open_run(folder, data=...) in Python"
    )


def differences(where: RunFolder, modality: Modality, place: str, data_root: str | Path | None) -> list[str]:
    """Say what tells the data in a place from those of a run; nothing where they are the same."""
    facts = where.data()
    root = data_root or facts.get("data_root") or None
    try:
        return _differences(facts, where.recipe(), modality, place, root)
    except ValueError as error:
        return [str(error).removeprefix("data: ")]


def _differences(facts: Mapping[str, Any], recipe: Recipe, modality: Modality, place: str, root: Any) -> list[str]:
    asked: dict[str, Any] = {"data_root": root, "memory_budget": 0, "min_samples": 1, "labels": "none"}
    if is_known(facts):
        hold_out = str(facts.get("hold_out", ""))
        asked |= {"labels": facts.get("labels", "auto")} if hold_out else {}  # groups come with labels
        source = without_held_out(load_samples(modality, place, facts=facts, **asked), hold_out)
        return data_differences(facts, {"num_samples": len(source), "identity": identity_of(source), "path": place})
    # A run made before samples were looked at knows sizes and statistics: of what it was trained on, so loaded alike.
    _, found = fitted(modality, recipe, load_samples(modality, place, recipe=recipe, **asked))
    return data_differences(facts, found, modality.statistics)


def is_own(where: RunFolder, modality: Modality, data: Any, data_root: str | Path | None) -> bool:
    """Whether data named in a call are those that a run learned from, wherever they lie; objects are not."""
    place, facts = place_to_keep(modality, data), where.data()
    if not place or place in modality.named or not is_known(facts) or not is_there(place):
        return bool(place) and place in (facts.get("path"), *places(where, modality))
    return not differences(where, modality, place, data_root)
