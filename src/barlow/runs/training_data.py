"""What the page of a run says of its training data: what is there twice, what fits nowhere, what belongs together.

The features are there when a run ends, so this costs little. Of large data it is said of a sample of them; the commands
`barlow duplicates`, `outliers` and `groups` look at all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from barlow.data.order import evenly_spaced
from barlow.evaluation.features import Features, feature_batches
from barlow.features.duplicates import find_duplicates, mild_view
from barlow.features.groups import find_groups
from barlow.features.outliers import find_outliers
from barlow.formats import count, printable
from barlow.seams import Source, Views

MILD_VIEWS, MILD_ON_PAGE = 600, 200
"""Samples of which a mild view is drawn to tell how alike copies are: by the command, and for the page."""
VIEW_BATCH = 128
FEWEST, MOST = 20, 2000
"""Samples below which nothing is looked for, and how many of the run's data the page speaks of at most."""
NUMBERS = (2, 5, 10, 20)
"""Numbers of groups to choose from for the page: fewer than the command tries."""
ROWS = {"duplicates": 6, "outliers": 1, "groups": 10}
"""Rows of pictures of each section."""
IN_ROW = {"duplicates": 4, "outliers": 12, "groups": 6}
SEED = 0
SAME = 1e-4
"""Size of the differences between features, beside the features, that is rounding."""

Pictured = Callable[[Any], NDArray[Any]]
"""Samples -> uint8 pictures (N, H, W, C)."""


@dataclass(frozen=True)
class _Row:
    """Samples under a heading: places among those looked at, and what is said of each."""

    heading: str
    places: Sequence[int]
    said: Sequence[str]


def features_of_mild_views(
    represent: Callable[[Any], Tensor], source: Source, positions: Sequence[int], views: Views, most: int
) -> tuple[Tensor, Tensor] | None:
    """Return the features of a mild view of some samples, and their places in `positions`; None: views have none."""
    apply = mild_view(views.bare().studied)
    if apply is None:
        return None
    chosen = evenly_spaced(len(positions), most)
    place_of = {int(positions[place]): int(place) for place in chosen}
    generator = torch.Generator().manual_seed(SEED)
    h, places = [], []
    for part, indices in feature_batches(
        represent,
        source,
        list(place_of),
        plain=lambda samples: apply(views.prepare(samples), generator),
        batch_size=VIEW_BATCH,
    ):
        h.append(part)
        places += [place_of[position] for position in indices.tolist()]
    return torch.cat(h), torch.tensor(places)


def look_through(
    represent: Callable[[Any], Tensor], source: Source, seen: Features, views: Views, pictured: Pictured | None
) -> dict[str, NDArray[Any]]:
    """Return duplicates, outliers and groups of samples whose features are `seen`, as arrays for `evidence.npz`.

    Of each section: "NAME_note", "NAME_headings" (rows,), and of every sample shown "NAME_row", "NAME_names",
    "NAME_said" and, where there is something to see, "NAME_images" (n, H, W, C). Nothing of fewer than `FEWEST`,
    and nothing of features that are not finite or all but the same: a network that collapsed makes copies of all.
    """
    kept = torch.from_numpy(np.asarray(evenly_spaced(len(seen.h), MOST), dtype=np.int64))
    if len(kept) < FEWEST:
        return {}
    h, positions = seen.h[kept], seen.indices[kept].tolist()
    spread = (h - h.mean(dim=0)).norm() / h.norm().clamp(min=1e-30)
    if not spread > SAME:  # so is one that is not a number
        return {}
    labels = None if seen.labels is None else seen.labels[kept]
    names = tuple(source.class_names)
    readable = len(source) - len(source.bad)
    part = "" if len(kept) == readable else f"{len(kept):,} of {readable:,} samples were looked at. "
    found: dict[str, NDArray[Any]] = {}
    for name, (note, rows) in {
        "duplicates": _duplicates(h, features_of_mild_views(represent, source, positions, views, MILD_ON_PAGE)),
        "outliers": _outliers(h, labels, names),
        "groups": _groups(h, labels, names),
    }.items():
        found |= _arrays(name, part + note, rows, source, positions, views, pictured)
    return found


def _duplicates(h: Tensor, mild: tuple[Tensor, Tensor] | None) -> tuple[str, list[_Row]]:
    views, of = (None, None) if mild is None else mild
    found = find_duplicates(h, mild=views, of=of)
    more = count(len(found.to_remove), "sample")
    note = f"{count(len(found.groups), 'group')}, {more} more than there need be: {found.note}."
    pairs = list(zip(found.groups, found.similarities, strict=True))[: ROWS["duplicates"]]
    return note, [_Row(f"similarity {similarity:.3f}", group, [""] * len(group)) for group, similarity in pairs]


def _outliers(h: Tensor, labels: Tensor | None, names: Sequence[str]) -> tuple[str, list[_Row]]:
    ranked = find_outliers(h, labels=labels, class_names=names, most=IN_ROW["outliers"]).ranked
    shown = ranked[: IN_ROW["outliers"]]
    said = [f"rank {one.rank} ({one.low} to {one.high}) {'; '.join(one.reasons)}".strip() for one in shown]
    note = "In brackets, the rank by random halves of the other samples."
    return note, [_Row("", [one.position for one in shown], said)]


def _groups(h: Tensor, labels: Tensor | None, names: Sequence[str]) -> tuple[str, list[_Row]]:
    found = find_groups(h, labels=labels, class_names=names, numbers=NUMBERS)
    pairs = list(zip(found.names, found.typical, strict=True))[: ROWS["groups"]]
    rows = [_Row(f"{name}: {len(members):,} samples", members, [""] * len(members)) for name, members in pairs]
    return f"{found.chosen}.", rows


def _arrays(
    name: str,
    note: str,
    rows: Sequence[_Row],
    source: Source,
    positions: Sequence[int],
    views: Views,
    pictured: Pictured | None,
) -> dict[str, NDArray[Any]]:
    most = IN_ROW[name]
    shown = [
        (number, positions[place], said)
        for number, row in enumerate(rows)
        for place, said in list(zip(row.places, row.said, strict=True))[:most]
    ]
    wanted = [position for _, position, _ in shown]
    found: dict[str, NDArray[Any]] = {
        f"{name}_note": np.array(note),
        f"{name}_headings": np.array([row.heading for row in rows]),
        f"{name}_row": np.array([number for number, _, _ in shown]),
        f"{name}_names": np.array([printable(source.describe(position)) for position in wanted]),
        f"{name}_said": np.array([said for _, _, said in shown]),
    }
    if pictured is not None and wanted:
        batches = source.batches(list(dict.fromkeys(wanted)), VIEW_BATCH)
        seen = {
            position: picture
            for batch in batches
            for position, picture in zip(batch.indices.tolist(), pictured(views.plain(batch.samples)), strict=True)
        }
        if all(position in seen for position in wanted):
            found[f"{name}_images"] = np.stack([seen[position] for position in wanted])
    return found
