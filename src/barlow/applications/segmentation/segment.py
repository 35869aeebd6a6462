"""`barlow.segment`: a run and a folder of images with masks become networks, masks, a model and a page."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from barlow.applications.segmentation.cells import cells_of, draw_labelled, largest_of, open_subject, split_images
from barlow.applications.segmentation.model import SegmentationModel, open_model
from barlow.applications.segmentation.pictures import MaskTable, open_pairs, table_of
from barlow.applications.segmentation.settings import ARMS, SegmentSettings
from barlow.applications.segmentation.summary import summary_of
from barlow.errors import unknown
from barlow.files import write_json
from barlow.report.page import sparing_a_page
from barlow.report.segmentation_page import write_segmentation_page
from barlow.runs.embed import weights_digest
from barlow.runs.folder import file_name_of, started_with, versions
from barlow.runs.run import Run
from barlow.seams import Facts
from barlow.studies.cells import compute_cells
from barlow.training.progress import Progress
from barlow.writers import one_writer

PAGE, SUMMARY = "segmentation.html", "segmentation.json"
MAY_CHANGE = ("labels", "seeds", "arms")
"""Settings that decide which cells there are, not what is in one: more of them may be asked for."""


@dataclass(frozen=True)
class Segmented:
    """What `segment` left.

    Attributes:
        folder: of everything.
        summary: figures by arm and number of labels, differences over seeds, bars, notes; as in `segmentation.json`.
        page: the HTML page.
        masks: folder of the predicted masks of the test images, by the model.
        model_folder: the fine-tuned network of the run, most labels, seed 0.
    """

    folder: Path
    summary: dict[str, Any]
    page: Path
    masks: Path
    model_folder: Path

    @property
    def model(self) -> SegmentationModel:
        """The fine-tuned network, opened: `model.predict(images)`."""
        return open_model(self.model_folder)


def segment(
    run: Run | str | Path,
    data: str | Path,
    *,
    out: str | Path | None = None,
    table: str | Path | None = None,
    settings: SegmentSettings | None = None,
    jobs: int = 1,
    accelerator: str = "auto",
    quiet: bool = True,
    **numbers: Any,
) -> Segmented:
    """Fine-tune the backbone of a run to segment, on few masks, beside the same network from scratch and plain bars.

    The run's network becomes the encoder of a U-Net with a fresh decoder; everything is trained further on windows of
    the labelled images. Training and test images are split once; arms of one seed see the same labelled images, the
    same windows and the same first weights of the decoder. What is finished is kept: the same call goes on.

    Args:
        run: a run on images, or its folder.
        data: a folder of images and masks, paired by name: `images/` beside `masks/`.
        out: folder for everything; None: segmentation/<name of the data> in the run folder.
        table: file that says which value or colour of the masks is which class; None: told from the masks.
        settings: the numbers, `barlow.SegmentSettings`.
        jobs: processes at once, one thread each; 0: one per core.
        accelerator: auto, cpu, cuda or mps.
        quiet: no progress on the terminal.
        numbers: fields of the settings by name, such as `labels=(5, 10, "all")`, `steps=1000`.

    Raises:
        ValueError: no such run or folder, masks without images, sizes or values that do not fit, a number that cannot
            be; what was wanted instead.

    Example:
        >>> found = barlow.segment("runs/nuclei", "nuclei/", labels=(5, 20), seeds=3)        # doctest: +SKIP
        >>> found.model.predict(["new/a.png"])                                                # doctest: +SKIP
    """
    chosen = with_fields(settings or SegmentSettings(), numbers)
    where = Path(run.folder if isinstance(run, Run) else run).expanduser().resolve()
    place, progress = Path(data).expanduser().resolve(), Progress("segmentation", 0, quiet=quiet)
    subject = open_subject(where)
    pairs = open_pairs(place, chosen)
    classes = table_of(pairs, chosen, None if table is None else Path(table).expanduser())
    train, _ = split_images(pairs, chosen.test_share)
    for count in chosen.label_counts():
        draw_labelled(train, count, 0)  # refuses more than there are
    notes = [*classes.notes, *pairs.notes(), *_seen_in_pretraining(subject.facts, place, bool(pairs.splits))]
    about: dict[str, Any] = {
        "data": str(place),
        "run": str(where),
        "backbone": subject.recipe.backbone,
        "notes": notes,
        "settings": asdict(chosen),
        "num_train": len(train),
        "versions": versions(),
    }
    for note in notes:
        progress.say(note)
    folder = where / "segmentation" / file_name_of(place.name) if out is None else Path(out).expanduser()
    cells = cells_of(where, place, classes, chosen, digest=weights_digest(subject.backbone), accelerator=accelerator)
    with one_writer(folder):
        _begin_or_go_on(folder, about, classes)
        found = compute_cells(folder, cells, jobs=jobs, quiet=quiet, work="segmentation")
        return _finish(folder, {**about, **summary_of(found, chosen, classes.names)}, chosen, progress)


def with_fields(settings: SegmentSettings, numbers: dict[str, Any]) -> SegmentSettings:
    """Return settings with some fields changed; numbers of labels may be numbers, and tuples lists."""
    known = [one.name for one in fields(SegmentSettings)]
    for name in numbers:
        if name not in known:
            raise unknown("segment", name, known)
    words = ("labels", "arms", "unlabelled")
    given: dict[str, Any] = {
        name: (tuple(map(str, value if isinstance(value, (list, tuple)) else [value])) if name in words else value)
        for name, value in numbers.items()
    }
    return replace(settings, **given)


def _seen_in_pretraining(facts: Facts, place: Path, has_splits: bool) -> list[str]:
    """Say where the encoder learnt from the test images too, without their masks."""
    path = facts.get("path")
    if not path or has_splits:
        return []
    learnt = Path(str(path)).expanduser().resolve()
    if learnt != place and learnt not in place.parents and place not in learnt.parents:
        return []
    return ["the encoder was pretrained on all images of this folder, the test images among them, without any mask"]


def _begin_or_go_on(folder: Path, about: Mapping[str, Any], classes: MaskTable) -> None:
    """Write down what the folder is for, or check that it is for the same."""
    numbers = {name: _as_list(value) for name, value in about["settings"].items() if name not in MAY_CHANGE}
    given = {"data": about["data"], "classes": list(classes.names), **numbers}
    if not started_with(folder, "settings.json", given, "one of a segmentation"):
        write_json(folder / "settings.json", given)


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _finish(folder: Path, summary: dict[str, Any], settings: SegmentSettings, progress: Progress) -> Segmented:
    """Put model and masks in their places, write page and summary, the summary last: it says that all is done."""
    most = largest_of(settings.label_counts()) or "all"
    arm = ARMS[0] if ARMS[0] in settings.arms else settings.arms[0]
    kept = folder / "work" / f"{arm}-{most}-seed0"
    for name in ("model", "masks"):
        shutil.rmtree(folder / name, ignore_errors=True)
        shutil.copytree(kept / name, folder / name)
    summary["model"] = {"arm": arm, "labels": str(most), "seed": 0}
    page = folder / PAGE
    with sparing_a_page(progress.say):
        shown = {one: folder / "work" / f"{one}-{most}-seed0" for one in settings.arms}
        write_segmentation_page(page, summary, shown)
    write_json(folder / SUMMARY, summary)
    return Segmented(folder, summary, page, folder / "masks", folder / "model")
