"""From a run to the features of its samples, and to what `features/` makes of them, as figures, files and pages."""

import csv
import io
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from barlow.data.listed import listed
from barlow.errors import did_you_mean
from barlow.evaluation.knn import nearest
from barlow.features.duplicates import Duplicates, find_duplicates
from barlow.features.groups import Groups, find_groups
from barlow.features.outliers import Outliers, find_outliers
from barlow.features.projection import project
from barlow.features.space import fit_space, neighbours
from barlow.features.to_label import choose_to_label
from barlow.files import durable_file, read_json, write_json
from barlow.formats import printable
from barlow.modalities import load_samples
from barlow.report.map_page import MapPoints, write_map_page
from barlow.report.samples import Row, Shown
from barlow.report.samples_page import write_samples_page
from barlow.runs.embed import free_path
from barlow.runs.embeddings import Embeddings, provenance_of, read_embeddings
from barlow.runs.folder import RunFolder, file_name_of
from barlow.runs.training_data import MILD_VIEWS, VIEW_BATCH, features_of_mild_views
from barlow.seams import Source
from barlow.training.progress import Progress

if TYPE_CHECKING:
    from barlow.runs.classifier import Trained
    from barlow.runs.run import Run

MOST_ROWS = 60
"""Rows of a page: the file lists them all."""
CHOSEN = Path("features", "to_label.json")
"""What of a run folder says which samples were chosen to be labelled."""
LARGEST_THUMBNAIL, TINY = 128, 32
"""Sides in pixels of the pictures of a map: the most, and up to which one is kept to the bit."""
SHEET = 12
"""Samples in a row of a page."""


@dataclass(frozen=True)
class Sampled:
    """The features of some data, and where the samples themselves are.

    Attributes:
        run: whose network gave the features.
        embeddings: rows, names, labels.
        source: the samples.
        positions: (n,) of the rows in the source.
    """

    run: "Run"
    embeddings: Embeddings
    source: Source
    positions: Tensor

    @property
    def h(self) -> Tensor:
        """(n, d) features."""
        return self.embeddings.h

    def pictures(self, rows: Sequence[int]) -> list[NDArray[np.uint8] | None]:
        """Return a picture (H, W, C) of some rows, None for what has none to show."""
        wanted = list(dict.fromkeys(int(self.positions[row]) for row in rows))
        found: dict[int, NDArray[np.uint8] | None] = {}
        for batch in self.source.batches(wanted, VIEW_BATCH):
            for position, picture in zip(batch.indices.tolist(), self._shown(batch.samples), strict=True):
                found[position] = picture
        return [found.get(int(self.positions[row])) for row in rows]

    def similar(self, query: Any, *, number: int = 12, box: Sequence[int | float] | None = None) -> "Similar":
        """Find the samples most alike to each query: samples, a file, a folder, or the name of one of the samples.

        `box` is a crop of one picture: left, top, right and bottom as shares of its width and height.
        """
        return similar(self, query, number=number, box=box)

    def duplicates(self, *, threshold: float | None = None) -> Duplicates:
        """Find samples that are there twice or more."""
        return duplicates(self, threshold=threshold)

    def outliers(self, *, most: int = 50) -> Outliers:
        """Rank the samples that fit nowhere."""
        return outliers(self, most=most)

    def groups(self, *, number: int | None = None) -> Groups:
        """Sort the samples into groups."""
        return groups(self, number=number)

    def to_label(self, number: int, *, labelled: Mapping[str, str] | None = None) -> list[str]:
        """Return the names of the samples to label next, the most useful first; `labelled` are labels by name."""
        return to_label(self, number, labelled=labelled)

    def classify(
        self, out: str | Path, *, labels: Mapping[str, str] | None = None, finetune: bool = False, test: Any = None
    ) -> "Trained":
        """Fit a classifier to labels by name, or to those of the data, and write it to a folder for `predict`.

        Names are whole paths or the ends of them (`dress/1.jpg`). With `finetune` the network learns from the labels
        too. `test` are labelled data that nothing learns from.
        """
        from barlow.runs.classifier import classify  # which knows this file

        return classify(self, Path(out).expanduser(), labels=labels, finetune=finetune, test=test)

    def _shown(self, samples: Any) -> list[NDArray[np.uint8] | None]:
        if all(isinstance(one, Tensor) and one.dtype == torch.uint8 and one.ndim == 3 for one in samples):
            return [one.movedim(0, -1).numpy() for one in samples]
        show = self.run.modality.show(self.run.facts)
        if show is None:
            return [None] * len(samples)
        return [one.movedim(0, -1).numpy() for one in show(self.run.views.plain(samples))]


def sampled(run: "Run", data: Any = None, *, data_root: str | Path | None = None, quiet: bool = True) -> Sampled:
    """Return the features of the data of a run, or of others; from the run folder where they are there already."""
    root = data_root or (run.facts.get("data_root") or None if data is None else None)
    wanted = run.own_data(data_root) if data is None else listed(data)
    kept_word = run.facts.get("labels", "auto")  # "none" was said of learning; who asks for labels here wants them
    said = kept_word if data is None and kept_word != "none" else "auto"
    asked: dict[str, Any] = {"data_root": root, "min_samples": 1, "memory_budget": 0}
    source = load_samples(run.modality, wanted, facts=run.facts, labels=said, **asked)
    about = run.provenance(source, wanted)
    path = free_path(RunFolder(run.folder).features, file_name_of(source.name), about["data"])
    known = provenance_of(path) if path.is_file() else {}
    if not about["data"]["identity"] or any(known.get(name) != value for name, value in about.items()):
        run.embed_to_file(wanted, path, data_root=root, quiet=quiet)
    found = read_embeddings(path)
    kept = torch.tensor([i for i in range(len(source)) if printable(source.describe(i)) not in found.skipped])
    labels, names = (None, ()) if source.labels is None else (source.labels[kept], tuple(source.class_names))
    return Sampled(run, replace(found, labels=labels, class_names=names), source, kept)


def contrasts(of: Sampled, most_values: int = 4096) -> Tensor | None:
    """Return how much the values of each sample differ among themselves: their standard deviation.

    None where samples are no tensors: a node has no looks that could be broken.
    """
    found = torch.zeros(len(of.positions))
    row_of = {int(position): row for row, position in enumerate(of.positions)}
    for batch in of.source.batches(of.positions.tolist(), VIEW_BATCH):
        if not isinstance(batch.samples, (Tensor, list)):
            return None
        for position, sample in zip(batch.indices.tolist(), batch.samples, strict=True):
            values = sample.flatten()
            step = max(1, len(values) // most_values)
            found[row_of[position]] = values[::step].float().std() if len(values) > 1 else 0.0
    return found


def duplicates(of: Sampled, *, threshold: float | None = None, quiet: bool = True) -> Duplicates:
    """Find samples that are there twice or more; the views of the run tell how alike copies are."""
    found = features_of_mild_views(of.run.backbone, of.source, of.positions.tolist(), of.run.views, MILD_VIEWS)
    mild, rows = (None, None) if found is None else found
    with _showing("comparing", quiet) as show:
        return find_duplicates(of.h, mild=mild, of=rows, threshold=threshold, progress=show)


def outliers(of: Sampled, *, most: int = 50, quiet: bool = True) -> Outliers:
    """Rank the samples that fit nowhere."""
    with _showing("comparing", quiet) as show:
        return find_outliers(
            of.h,
            labels=of.embeddings.labels,
            class_names=of.embeddings.class_names,
            contrasts=contrasts(of),
            most=most,
            progress=show,
        )


def groups(of: Sampled, *, number: int | None = None, quiet: bool = True) -> Groups:
    """Sort the samples into groups."""
    with _showing("numbers of groups", quiet) as show:
        return find_groups(
            of.h,
            number=number,
            labels=of.embeddings.labels,
            class_names=of.embeddings.class_names,
            progress=show,
        )


@dataclass(frozen=True)
class Similar:
    """The nearest samples of each query: names, (q, k) similarities from -1 to 1, and (q, k) rows of the features."""

    queries: Sequence[str]
    names: Sequence[Sequence[str]]
    similarities: Tensor
    rows: Tensor


def similar(of: Sampled, query: Any, *, number: int = 12, box: Sequence[int | float] | None = None) -> Similar:
    """Find the samples most alike to each query: samples, a file, a folder, or the name of one of the samples.

    `box` is a crop of one picture: left, top, right and bottom as shares of its width and height.
    """
    number = min(number, len(of.h) - 1)
    space = fit_space(of.h)
    rows = space.rows(of.h)
    own = _row_named(of, query) if isinstance(query, (str, Path)) else None
    if box is not None:
        crop = _crop(of, query, own, box)
        own, h = None, of.run.embed(crop)
        asked: tuple[str, ...] = (f"{query} at {' '.join(f'{side:g}' for side in box)}",)
    elif own is not None:
        h, asked = of.h[own : own + 1], tuple(of.embeddings.names[own : own + 1])
    else:
        found = of.run.embed(query, names=True)
        h, asked = found.h, tuple(found.names)
    similarities, positions = nearest(rows, space.rows(h), number + (own is not None))
    if own is not None:  # itself
        others = positions[0] != own
        similarities, positions = similarities[:, others][:, :number], positions[:, others][:, :number]
    names = tuple(tuple(of.embeddings.names[row] for row in line) for line in positions.tolist())
    return Similar(asked, names, similarities, positions)


def _crop(of: Sampled, query: Any, own: int | None, box: Sequence[int | float]) -> Tensor:
    """A part of one picture, of the data or of a file, as a batch (1, C, h, w)."""
    left, top, right, bottom = box
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError(
            f"box: got {list(box)}, wanted left, top, right, bottom, from 0 to 1, as shares of the picture"
        )
    source, position = of.source, 0 if own is None else int(of.positions[own])
    if own is None:
        source = load_samples(of.run.modality, listed(query), facts=of.run.facts, min_samples=1)
    batch = next(source.batches([position], 1), None)
    if (len(source) > 1 and own is None) or batch is None or getattr(batch.samples[0], "ndim", 0) != 3:
        raise ValueError(f"box: got one for {query!r}, wanted a single picture to cut it from")
    height, width = batch.samples[0].shape[-2:]
    rows = slice(int(top * height), max(int(top * height) + 1, round(bottom * height)))
    columns = slice(int(left * width), max(int(left * width) + 1, round(right * width)))
    cut: Tensor = batch.samples[0][None, :, rows, columns]
    return cut


def _row_named(of: Sampled, query: str | Path) -> int | None:
    """The row of a sample by its name or the end of it, as `_rows_that_end`; None: a file that is none of them."""
    is_file = Path(query).expanduser().exists()
    name = str(Path(query).expanduser().resolve()) if is_file else str(query)
    rows = _rows_that_end(of.embeddings.names, [name])[name]
    if len(rows) > 1:
        raise ValueError(f"query: {len(rows)} samples are called {str(query)!r}, wanted a longer part of the path")
    if not rows and not is_file:
        hint = did_you_mean(Path(query).name, [Path(name).name for name in of.embeddings.names])
        raise ValueError(f"query: got {str(query)!r}, which is neither a file nor the name of a sample{hint}")
    return rows[0] if rows else None


def rows_named(of: Sampled, names: Collection[str], argument: str) -> list[int]:
    """Return the row of each sample, by its whole name or by the end of its path where that is one sample's alone.

    Raises:
        ValueError: names of no sample, of several, or two of one; `argument` is what gave them.
    """
    known = _rows_that_end(of.embeddings.names, names)
    found = [known[name] for name in names]
    if none := [name for name, rows in zip(names, found, strict=True) if not rows]:
        whole = of.embeddings.names[0]
        raise ValueError(
            f"{argument}: {len(none)} of {len(names)} names are no samples, the first {none[0]!r}, wanted names such "
            f"as {whole!r} or {Path(whole).name!r}"
        )
    taken: dict[int, str] = {}
    for name, rows in zip(names, found, strict=True):
        if len(rows) > 1:
            raise ValueError(f"{argument}: {len(rows)} samples are called {name!r}, wanted a longer part of the path")
        if rows[0] in taken:
            raise ValueError(f"{argument}: {taken[rows[0]]!r} and {name!r} are one sample, wanted each once")
        taken[rows[0]] = name
    return list(taken)


def _rows_that_end(names: Sequence[str], wanted: Collection[str]) -> dict[str, list[int]]:
    """The rows that each wanted name means: that of its whole name, else all that end with it.

    An end is that of a path ("dress/1.jpg"), or the number of samples that are counted ("5" of "node 5").
    """
    ends = {name: name.removeprefix("./") for name in wanted}
    depths, asked = {end.count("/") + 1 for end in ends.values()}, set(ends.values())
    whole: dict[str, list[int]] = {}
    of_end: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        if name in ends:
            whole.setdefault(name, []).append(row)
        parts, number = name.split("/"), name.rpartition(" ")[2]
        found = {"/".join(parts[-depth:]) for depth in depths if depth < len(parts)}
        for end in asked & (found | {number} if number.isdecimal() else found):
            of_end.setdefault(end, []).append(row)
    return {name: whole.get(name) or of_end.get(end, []) for name, end in ends.items()}


def to_label(of: Sampled, number: int, *, labelled: Mapping[str, str] | None = None) -> list[str]:
    """Return the names of the samples to label next, the most useful first."""
    names = of.embeddings.names
    known = rows_named(of, labelled or {}, "labelled")
    found = [names[row] for row in choose_to_label(of.h, number, labelled=known)]
    with suppress(OSError):  # a folder that is read only still tells what to label
        write_json(of.run.folder / CHOSEN, {"names": sorted({*chosen_to_label(of), *found})})
    return found


def chosen_to_label(of: Sampled) -> set[str]:
    """Return the names that `to_label` has chosen in a run so far: labels of these are no random sample."""
    path = of.run.folder / CHOSEN
    return set(read_json(path).get("names", ())) if path.is_file() else set()


def write_to_label(path: Path, names: Sequence[str], labelled: Mapping[str, str]) -> None:
    """Write a csv to fill in: name and label, those that are labelled already first."""
    with durable_file(path) as file:
        lines = [("name", "label"), *labelled.items(), *((name, "") for name in names)]
        for line in lines:
            file.write((",".join(quoted(cell) for cell in line) + "\n").encode())


def quoted(cell: str) -> str:
    """Return a cell as csv has it."""
    return '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ',"\n') else cell


def read_labels(path: Path) -> dict[str, str]:
    """Return the labels of a csv with columns name and label, without the lines that are not filled in."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if not {"name", "label"} <= set(reader.fieldnames or ()):
            raise ValueError(f"labels: {str(path)!r} has the columns {reader.fieldnames}, wanted name and label")
        return {line["name"]: line["label"].strip() for line in reader if (line["label"] or "").strip()}


# --- files and pages


def write_duplicates(of: Sampled, found: Duplicates, path: Path) -> Path:
    """Write the groups as JSON, and a page beside it."""
    names = of.embeddings.names
    listed = [
        {"similarity": similarity, "names": [names[row] for row in group]}
        for group, similarity in zip(found.groups, found.similarities, strict=True)
    ]
    write_json(path, {"threshold": found.threshold, "note": found.note, "groups": listed})
    rows = [
        Row(f"group {number + 1}, similarity {similarity:.3f}", _shown(of, group[:SHEET]))
        for number, (group, similarity) in enumerate(zip(found.groups, found.similarities, strict=True))
    ][:MOST_ROWS]
    copies = len(found.to_remove)
    said = [
        f"{len(found.groups)} groups; without {copies} samples each is there once",
        found.note,
        _left_out(found.groups),
    ]
    return write_samples_page(
        path.with_suffix(".html"), f"Duplicates in {of.source.name}", list(filter(None, said)), rows
    )


def _left_out(rows: Sequence[Any]) -> str:
    return f"the first {MOST_ROWS} are shown; the JSON file beside this page has all" if len(rows) > MOST_ROWS else ""


def write_outliers(of: Sampled, found: Outliers, path: Path) -> Path:
    """Write the ranked outliers as JSON, and a page beside it."""
    names = of.embeddings.names
    listed = [
        {
            "name": names[one.position],
            "score": one.score,
            "rank": one.rank,
            "rank_low": one.low,
            "rank_high": one.high,
            "reasons": list(one.reasons),
        }
        for one in found.ranked
    ]
    write_json(path, {"ordinary": found.ordinary, "outliers": listed})
    shown = [
        Shown(
            names[one.position],
            picture,
            f"rank {one.rank} ({one.low} to {one.high}): {'; '.join(one.reasons) or 'rare'}",
        )
        for one, picture in zip(found.ranked, of.pictures([one.position for one in found.ranked]), strict=True)
    ]
    rows = [
        Row("" if start else "the samples that fit least", shown[start : start + SHEET])
        for start in range(0, len(shown), SHEET)
    ]
    said = [
        f"score: 1 - mean similarity to the nearest others; above {found.ordinary:.2f} it is out of the ordinary",
        "in brackets, the rank by random halves of the other samples (9 in 10 of them)",
    ]
    return write_samples_page(path.with_suffix(".html"), f"Outliers in {of.source.name}", said, rows)


def write_groups(of: Sampled, found: Groups, path: Path) -> Path:
    """Write the group of every sample as JSON, and a page with the most typical samples of each beside it."""
    names = of.embeddings.names
    listed = [
        {"name": name, "size": len(members), "samples": [names[row] for row in members]}
        for name, members in zip(found.names, found.typical, strict=True)
    ]
    stability = {str(number): agreement for number, agreement in found.stability.items()}
    write_json(path, {"chosen": found.chosen, "stability": stability, "groups": listed})
    rows = [
        Row(f"{name}: {len(members):,} samples", _shown(of, members[:SHEET]))
        for name, members in zip(found.names, found.typical, strict=True)
    ]
    return write_samples_page(path.with_suffix(".html"), f"Groups in {of.source.name}", [found.chosen], rows)


def write_similar(of: Sampled, found: Similar, path: Path) -> Path:
    """Write the nearest samples of each query as JSON, and a page beside it."""
    listed = [
        {"query": query, "similar": [{"name": n, "similarity": float(s)} for n, s in zip(names, line, strict=True)]}
        for query, names, line in zip(found.queries, found.names, found.similarities, strict=True)
    ]
    write_json(path, {"queries": listed})
    rows = []
    for query, row, line in list(zip(found.queries, found.rows.tolist(), found.similarities, strict=True))[:MOST_ROWS]:
        shown = [Shown(one.name, one.picture, f"{float(s):.2f}") for one, s in zip(_shown(of, row), line, strict=True)]
        rows.append(Row(f"like {query}", shown))
    said = ["1 is the same direction, 0 unrelated", *filter(None, [_left_out(found.queries)])]
    return write_samples_page(path.with_suffix(".html"), f"Similar samples in {of.source.name}", said, rows)


def write_map(of: Sampled, path: Path, *, quiet: bool = True) -> Path:
    """Write one page to look around in: a map with pictures, neighbours, labels, groups, duplicates and outliers."""
    space = fit_space(of.h)
    rows = space.rows(of.h)
    with _showing("neighbours", quiet) as show:
        similarities, positions = neighbours(rows, min(SHEET, len(rows) - 1), show)
    with _showing("placing", quiet) as show:
        placed = project(rows, progress=show)
    twice, odd, kinds = duplicates(of, quiet=quiet), outliers(of, quiet=quiet), groups(of, quiet=quiet)
    remarks = {one.position: "; ".join(one.reasons) for one in odd.ranked}
    points = MapPoints(
        f"Map of {of.source.name}",
        placed.xy,
        of.embeddings.names,
        placed.method,
        trustworthiness=placed.trustworthiness,
        kept=placed.kept,
        thumbnails=[_jpeg(picture) for start in range(0, len(rows), VIEW_BATCH) for picture in _part(of, start)],
        neighbours=positions,
        similarities=similarities,
        labels=of.embeddings.labels,
        class_names=of.embeddings.class_names,
        groups=kinds.of_each,
        group_names=kinds.names,
        duplicates=twice.group_of_each,
        outlier=odd.scores,
        remarks=[remarks.get(row, "") for row in range(len(rows))],
        notes=(f"{kinds.chosen}.", f"Copies: {twice.note}."),
        noun=of.run.modality.noun,
    )
    return write_map_page(path, points)


def _part(of: Sampled, start: int) -> list[NDArray[np.uint8] | None]:
    return of.pictures(range(start, min(start + VIEW_BATCH, len(of.positions))))


def _jpeg(picture: NDArray[np.uint8] | None) -> bytes | None:
    """A picture as the bytes of a small file; grey where it has neither 3 channels."""
    if picture is None:
        return None
    image = Image.fromarray(picture if picture.shape[2] == 3 else np.ascontiguousarray(picture[:, :, 0]))
    image.thumbnail((LARGEST_THUMBNAIL, LARGEST_THUMBNAIL))
    file = io.BytesIO()
    image.save(file, format="PNG" if max(image.size) <= TINY else "JPEG", quality=85)
    return file.getvalue()


def _shown(of: Sampled, rows: Sequence[int]) -> list[Shown]:
    return [Shown(of.embeddings.names[row], picture) for row, picture in zip(rows, of.pictures(rows), strict=True)]


@contextmanager
def _showing(what: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Progress of a search, made when it first says how much there is."""
    with ExitStack() as stack:
        made: list[Progress] = []

        def show(done: int, total: int) -> None:
            if not made:
                made.append(stack.enter_context(Progress(what, total, quiet=quiet)))
            made[0].update(done)

        yield show
