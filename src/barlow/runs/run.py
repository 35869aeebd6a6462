"""The handle on a pretrained backbone: embed, evaluate, export, report."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from barlow.errors import unknown
from barlow.evaluation.features import Features, extract
from barlow.evaluation.published import published_protocol
from barlow.evaluation.scores import (
    LabelledParts,
    Protocols,
    Score,
    calibrate,
    labelled_parts,
    measure,
)
from barlow.methods.table import Builder
from barlow.modalities import SAMPLES, load_samples, modality_of, place_of
from barlow.recipes import OWN, Recipe
from barlow.report.page import write_report
from barlow.runs.build import build_views, named_backbone, open_backbone, untrained_backbone
from barlow.runs.export import check_suffix, export_onnx, write_embeddings
from barlow.runs.folder import RunFolder, objects_among
from barlow.seams import Modality, OnDevice, Source, Views
from barlow.training.engine import device_of

BATCH_SIZE = 512
"""Samples that the network sees at once when it is used, not trained."""
Whose = Literal["ours", "published"]
"""Whose numbers an evaluation takes."""


@dataclass(frozen=True)
class Run:
    """A pretrained backbone and the folder that tells how it came to be.

    Attributes:
        folder: the run folder.
        recipe: the numbers of the run.
        backbone: network input -> h, in evaluation mode.
        views: how batches become network input.
        finished: False when a signal stopped it; the same call again goes on.
        modality: of the data.
        method: what built the method, where the run was given that as an object; an audit asks for it.
    """

    folder: Path
    recipe: Recipe
    backbone: nn.Module
    views: Views
    finished: bool = True
    modality: Modality = SAMPLES
    method: Builder | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What `recipe.json` says of the data."""
        return RunFolder(self.folder).data()

    @property
    def summary(self) -> dict[str, Any]:
        """The final figures as in `summary.json`; empty before the run is finished."""
        return RunFolder(self.folder).summary()

    def embed(
        self, data: Any, *, batch_size: int = BATCH_SIZE, data_root: str | Path | None = None, accelerator: str = "auto"
    ) -> Tensor:
        """Return the representations h of `data`, one row per sample that could be read.

        Args:
            data: a tensor of images, a path, a name, a Dataset or a Source.
            batch_size: samples at once.
            data_root: where named data sets live.
            accelerator: auto, cpu, cuda or mps.

        Returns:
            (N, d) float32 on the CPU.

        Raises:
            ValueError: data that cannot be loaded or have other channels, an accelerator that is not here.
        """
        source = load_samples(self.modality, data, facts=self.facts, data_root=data_root, min_samples=1)
        return self._features(source, accelerator, batch_size).h

    def _features(self, source: Source, accelerator: str, batch_size: int = BATCH_SIZE) -> Features:
        device = device_of(accelerator)
        with _moved(self.backbone, device):
            return extract(self.backbone, OnDevice(source, device), plain=self.views.plain, batch_size=batch_size)

    def evaluate(
        self,
        data: Any = None,
        *,
        data_root: str | Path | None = None,
        sgd_linear: bool = False,
        augmented: bool = False,
        finetune: Sequence[float] | None = None,
        protocol: Whose = "ours",
        accelerator: str = "auto",
        keep: bool = True,
        quiet: bool = True,
    ) -> Score:
        """Measure the features on labelled data: kNN, linear probe, few labels, beside untrained and raw pixels.

        On data that the run did not learn from this is the transfer of a frozen backbone: pictures of another size
        are brought to the size of the run, grey ones to its colours or the reverse, and normalised with its statistics.

        Args:
            data: labelled data; None: the data of the run.
            data_root: where named data sets live.
            sgd_linear: also the papers' 100 epochs of SGD, as "sgd_linear" in the rows.
            augmented: that protocol on crops and flips drawn anew in every epoch: official, and 100 times slower.
            finetune: shares of the labels to fine-tune the whole network on, such as (0.01, 0.1, 1.0): "finetune" in
                the rows of the trained and of the untrained network. None: none, or with `protocol="published"`
                the shares that the method's source fine-tunes on.
            protocol: "ours": Barlow Twins' numbers for `sgd_linear`, and for `finetune` those that each network chooses
                on training data. "published": the numbers of the run's own method for both (`PUBLISHED` in
                `evaluation/published.py`), on crops and flips where the source draws them; for large data.
            accelerator: auto, cpu, cuda or mps.
            keep: write the figures to `evaluations/` in the run folder, into the journal and on the page.
            quiet: no progress on the terminal.

        Raises:
            ValueError: the data have no labels, or too few for a share of `finetune`; nobody's published protocol is
                known for the method; an accelerator that is not here.
        """
        started, device = time.perf_counter(), device_of(accelerator)
        protocols = _protocols(protocol, self.recipe.method, sgd_linear, augmented, finetune)
        if keep and not os.access(self.folder, os.W_OK):
            raise ValueError(f"keep: {str(self.folder)!r} cannot be written to, wanted keep=False")
        parts, path = self._labelled(data, data_root)
        parts, plain = parts.on(device), self.views.bare().plain
        twin = None
        if named_backbone(self.modality, self.recipe):
            twin = untrained_backbone(self.modality, self.recipe, self.facts)
            twin = calibrate(twin.to(device), parts.train, plain)
        with _moved(self.backbone, device):
            score = measure(
                self.backbone,
                twin,
                parts,
                plain=plain,
                bars=self.modality.bars,
                view=self.modality.supervised(self.views),
                protocols=protocols,
                quiet=quiet,
            )
        if not keep:
            return score
        measured: dict[str, Any] = {"data": {"name": parts.test.name, "path": path}, "protocol": protocol}
        measured["seconds"] = time.perf_counter() - started
        title = f"{parts.test.name}-{_title(protocol, protocols)}"
        file = RunFolder(self.folder).keep_evaluation(title, measured, score.evaluation)
        self.report()
        return replace(score, kept=file)

    def _labelled(self, data: Any, data_root: str | Path | None) -> tuple[LabelledParts, str]:
        """Labelled data of a call, and where they are; "" for an object."""
        given = self.facts
        root = data_root or given.get("data_root") or None
        wanted = given.get("path") if data is None else data
        if isinstance(wanted, str) and not wanted:
            raise ValueError(
                f"data: the run in {str(self.folder)!r} was given its data as an object; pass labelled data"
            )
        parts = labelled_parts(self.modality, wanted, facts=self.facts, data_root=root)
        if parts is None:
            name = wanted if isinstance(wanted, (str, Path)) else f"the {type(wanted).__name__} given"
            raise ValueError(f"data: {name} has no labels to evaluate with; wanted class folders or labels")
        if data is not None and not _same(data, given.get("path", "")):
            parts = replace(parts, seen_in_pretraining=False)
        return parts, place_of(self.modality, wanted)

    def write_features(
        self, data: Any, path: str | Path, *, data_root: str | Path | None = None, accelerator: str = "auto"
    ) -> int:
        """Write the representations of `data` to .npz or .parquet, with names and labels; return their number.

        Args:
            data: as for `embed`.
            path: .npz or .parquet.
            data_root: where named data sets live.
            accelerator: auto, cpu, cuda or mps.
        """
        check_suffix(path)
        source = load_samples(self.modality, data, facts=self.facts, data_root=data_root, min_samples=1)
        found = self._features(source, accelerator)
        names = [source.describe(index) for index in found.indices.tolist()]
        write_embeddings(path, found.h, names=names, labels=None if found.labels is None else found.labels.tolist())
        return len(names)

    def export(self, to: str, path: str | Path) -> None:
        """Write the backbone for other programs.

        Args:
            to: "timm" (a folder) or "onnx" (a file).
            path: where to.

        Raises:
            ValueError: the backbone cannot be written that way; says why and what else there is.
        """
        formats = (*self.modality.exports, "onnx")
        if to not in formats:
            raise unknown("to", to, formats)
        facts = self.facts
        if to in self.modality.exports:
            return self.modality.exports[to](self.backbone, Path(path), facts)
        if "input_shape" not in facts and "image_shape" not in facts:
            raise ValueError(
                f"to: got {to!r}, but the run in {str(self.folder)!r} does not say what its network takes; wanted "
                "barlow.export_onnx(run.backbone, example, path) on a batch"
            )
        example = self.modality.example(self.recipe, facts)
        return export_onnx(self.backbone, example, path, input_name=f"{self.modality.noun}s")

    def report(self) -> Path:
        """Write `report.html` from what the folder holds and return its path."""
        return write_report(self.folder)


@contextmanager
def _moved(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Have a network on a device while the block runs, and where it was before afterwards."""
    before = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    network.to(device)
    try:
        yield
    finally:
        network.to(before)


def _protocols(
    whose: str, method: str, sgd_linear: bool, augmented: bool, finetune: Sequence[float] | None
) -> Protocols:
    """What to measure beside the probes, and with whose numbers."""
    if whose not in get_args(Whose):
        raise unknown("protocol", whose, get_args(Whose))
    if whose == "ours":
        return Protocols(sgd_linear=sgd_linear, augmented=augmented, finetune=tuple(map(float, finetune or ())))
    published = published_protocol(method)
    shares = tuple(published.finetune) if finetune is None else tuple(map(float, finetune))
    return Protocols(sgd_linear=True, augmented=published.linear.augmented, finetune=shares, published=published)


def _title(whose: str, protocols: Protocols) -> str:
    """What was measured, for the name of a file: "ours-sgd-linear-finetune-0.01-0.1"."""
    words = [whose]
    if protocols.sgd_linear and whose == "ours":
        words.append("augmented" if protocols.augmented else "sgd-linear")
    if protocols.finetune:
        words += ["finetune", *(f"{share:g}" for share in protocols.finetune)]
    return "-".join(words)


def _same(data: Any, path: str) -> bool:
    """Whether data named in a call are those of the run."""
    return isinstance(data, (str, Path)) and bool(path) and Path(data).resolve() == Path(path).resolve()


def open_run(
    folder: str | Path,
    *,
    backbone: nn.Module | None = None,
    views: Views | None = None,
    modality: str | Modality | None = None,
    method: Builder | None = None,
) -> Run:
    """Open a run folder.

    Args:
        folder: made by `pretrain`.
        backbone: the network, where the run was given one as an object.
        views: the views, where the run was given them as an object.
        modality: of the run, where it is an object of your own.
        method: the class or function that built the method, where the run was given one and is to be audited.

    Raises:
        ValueError: no such run, one without a checkpoint, or objects that only their maker can give again.
    """
    where = RunFolder(Path(folder))
    recipe, facts = where.recipe(), where.data()
    kind = modality_of(facts, modality)
    if views is None and (recipe.views.startswith(OWN) or kind.views is None):
        raise ValueError(f"views: the run in {str(folder)!r} was given its views as an object; pass it again")
    if method is not None and (name := objects_among(method=method)["method"]) != recipe.method.removeprefix(OWN):
        raise ValueError(f"method: got {name}, but the run in {str(folder)!r} was trained with {recipe.method}")
    network = open_backbone(kind, where.checkpoints, recipe, facts, backbone)
    drawn = build_views(kind, recipe, facts) if views is None else views
    return Run(where.path, recipe, network, drawn, finished=where.finished(), modality=kind, method=method)
