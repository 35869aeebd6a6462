"""The handle on a pretrained backbone: embed, evaluate, export, report."""

import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

import torch
from torch import Tensor, nn

from barlow.data.arrays import ArraySource
from barlow.data.bad_samples import left_out
from barlow.data.groups import GROUP, held_out_groups, known_groups
from barlow.data.listed import are_paths, listed
from barlow.data.lost import warn_of_lost
from barlow.errors import unknown
from barlow.evaluation.budget import seconds_for
from barlow.evaluation.features import extract
from barlow.evaluation.published import published_protocol
from barlow.evaluation.scores import (
    LabelledParts,
    Protocols,
    Score,
    labelled_parts,
    mean_over_groups,
    measure,
    parts_by_groups,
)
from barlow.features.classifier import is_classifier
from barlow.formats import printable
from barlow.methods.table import Builder
from barlow.modalities import SAMPLES, load_samples, modality_of, place_of, said
from barlow.recipes import OWN, Recipe
from barlow.report.page import sparing_a_page, write_report
from barlow.runs.build import (
    as_it_began,
    build_views,
    kept_memory,
    learns_from_labels,
    named_backbone,
    open_backbone,
    untrained_backbone,
)
from barlow.runs.embed import Embedded, embed_to_file, free_path, part_of_process, weights_digest
from barlow.runs.embeddings import Embeddings, check_suffix
from barlow.runs.export import export_onnx, export_prepared_onnx
from barlow.runs.export_classifier import export_classifier
from barlow.runs.folder import RunFolder, file_name_of, objects_among
from barlow.runs.identity import digest_of, identity_of
from barlow.runs.own_data import is_own, own_data, place_facts
from barlow.seams import Modality, OnDevice, Source, Views
from barlow.training.engine import device_of
from barlow.training.progress import Progress
from barlow.writers import one_writer, refuse_second

if TYPE_CHECKING:
    from barlow.runs.features import Sampled

BATCH_SIZE = 512
"""Samples that the network sees at once when it is used, not trained."""
Whose = Literal["ours", "published"]
"""Whose numbers an evaluation takes."""
FOR_OTHERS_SECONDS = 600.0
"""How long figures that are computed, and features that are to be, wait for another one that writes to the folder."""


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
        moved_to: where the data of the run are now, if they moved.
    """

    folder: Path
    recipe: Recipe
    backbone: nn.Module
    views: Views
    finished: bool = True
    modality: Modality = SAMPLES
    method: Builder | None = None
    moved_to: str | Path | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What `recipe.json` says of the data."""
        return RunFolder(self.folder).data()

    @property
    def summary(self) -> dict[str, Any]:
        """The final figures as in `summary.json`; empty before the run is finished."""
        return RunFolder(self.folder).summary()

    @overload
    def embed(
        self,
        data: Any,
        *,
        names: Literal[False] = False,
        batch_size: int = BATCH_SIZE,
        data_root: str | Path | None = None,
        accelerator: str = "auto",
        **reading: Any,
    ) -> Tensor: ...

    @overload
    def embed(
        self,
        data: Any,
        *,
        names: Literal[True],
        batch_size: int = BATCH_SIZE,
        data_root: str | Path | None = None,
        accelerator: str = "auto",
        **reading: Any,
    ) -> Embeddings: ...

    def embed(
        self,
        data: Any,
        *,
        names: bool = False,
        batch_size: int = BATCH_SIZE,
        data_root: str | Path | None = None,
        accelerator: str = "auto",
        **reading: Any,
    ) -> Tensor | Embeddings:
        """Return the representations h of `data`, one row per sample that could be read.

        Others are left out, however many they are, and a warning counts and names them.

        Args:
            data: a tensor of images, a path, a name, a Dataset or a Source; of samples in files also a list of their
                paths, or a .txt file with one a line.
            names: whether the samples' names, labels and classes are wanted beside the rows, and what was left out.
            batch_size: samples at once.
            data_root: where named data sets live.
            accelerator: auto, cpu, cuda or mps.
            reading: how the data are to be read where not as the run's own were: of images `white_level=` and
                `channels_axis=`, as for `pretrain`.

        Returns:
            (N, d) float32 on the CPU; with `names` a `barlow.Embeddings`, whose `h` they are. Without, samples that
            could not be read are named in a warning, for the other rows have moved up.

        Raises:
            ValueError: data that cannot be loaded or have other channels, an accelerator that is not here.

        Warns:
            What was clipped, with its count: read as the run's own data were, some of these may be above white.
        """
        asked, data = said(**reading), listed(data)
        source = load_samples(self.modality, data, facts=self.facts, data_root=data_root, min_samples=1, **asked)
        device = device_of(accelerator)
        with _moved(self.backbone, device):
            found = extract(self.backbone, OnDevice(source, device), plain=self.views.plain, batch_size=batch_size)
        warn_of_lost(source)
        missing = sorted(set(range(len(source))) - set(found.indices.tolist()))
        reasons = {position: source.bad.get(position, "it came without a reason") for position in missing}
        if not names:
            if reasons:
                warnings.warn(left_out(source, reasons), stacklevel=2)
            return found.h
        classes = source.class_names if found.labels is not None else ()
        called = tuple(printable(source.describe(position)) for position in found.indices.tolist())
        about = self.provenance(source, data)
        skipped = {printable(source.describe(position)): reason for position, reason in reasons.items()}
        return Embeddings(found.h, called, found.labels, tuple(classes), about, skipped)

    def provenance(self, source: Source, data: Any) -> dict[str, Any]:
        """What features of some data come from: this network, and these samples."""
        place = place_of(self.modality, data)
        identity = digest_of(identity_of(source), len(source)) if place or are_paths(data) else ""
        given = {"name": source.name, "path": place, "num_samples": len(source), "identity": identity}
        return {
            "barlow": version("barlow"),
            "run": str(self.folder.resolve()),
            "recipe": self.recipe.name,
            "weights": weights_digest(self.backbone),
            "data": given,
        }

    def evaluate(
        self,
        data: Any = None,
        *,
        data_root: str | Path | None = None,
        sgd_linear: bool = False,
        augmented: bool = False,
        finetune: Sequence[float] | None = None,
        protocol: Whose = "ours",
        seconds: float | None = None,
        accelerator: str = "auto",
        keep: bool = True,
        quiet: bool = True,
        labels: str = "auto",
        hold_out: str = "",
        **reading: Any,
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
            seconds: about how long neighbours, linear probe and few labels may take: where all samples would take
                longer, as many of each class count as fit, and the result says how many. None: all, however long; of
                more than 200,000 samples half an hour, unless the protocol is a published one.
            accelerator: auto, cpu, cuda or mps.
            keep: write the figures to `evaluations/` in the run folder, into the journal and on the page.
            quiet: no progress on the terminal.
            labels: "auto", or a pattern that names of samples fit ("{label}_{group}_*"); of the run's own data as it
                was told.
            hold_out: groups to test on, all others to fit probes on: "group=george,lucas"; "group": each in its turn,
                and the rows are means over them. Of the run's own data those that it did not learn from, if any.
            reading: as for `embed`.

        Raises:
            ValueError: the data have no labels, or too few for a share of `finetune`; nobody's published protocol is
                known for the method; an accelerator that is not here.
        """
        started, device = time.perf_counter(), device_of(accelerator)
        protocols = _protocols(protocol, self.recipe.method, sgd_linear, augmented, finetune)
        if keep and not os.access(self.folder, os.W_OK):
            raise ValueError(f"keep: {str(self.folder)!r} cannot be written to, wanted keep=False")
        if keep:
            refuse_second(self.folder)  # before anything is computed
        found, path = self._labelled(data, data_root, labels, hold_out, said(**reading))
        first = next(iter(found.values()))
        identity = digest_of(identity_of(first.test), len(first.test)) if path and len(found) == 1 else ""
        scores = {name: self._measured(parts, protocols, seconds, device, quiet) for name, parts in found.items()}
        score = scores[""] if "" in scores else mean_over_groups(scores)
        warn_of_lost(*(source for parts in found.values() for source in (parts.train, parts.test)))
        if not keep:
            return score
        measured: dict[str, Any] = {"data": {"name": first.test.name, "path": path}, "protocol": protocol}
        measured |= {"identity": identity} if identity else {}
        measured |= {"hold_out": hold_out} if hold_out else {}
        measured["seconds"] = time.perf_counter() - started
        title = f"{first.test.name}-{_title(protocol, protocols)}" + (f"-{hold_out}" if hold_out else "")
        with one_writer(self.folder, patience=FOR_OTHERS_SECONDS):
            file = RunFolder(self.folder).keep_evaluation(title, measured, score.evaluation)
            with sparing_a_page(lambda message: Progress("evaluation", 0, quiet=quiet).say(message)):
                self.report()
        return replace(score, kept=file)

    def _measured(
        self, found: LabelledParts, protocols: Protocols, seconds: float | None, device: torch.device, quiet: bool
    ) -> Score:
        """Measure one pair of parts, beside the untrained network and the bars of the modality."""
        parts, plain = found.on(device), self.views.bare().plain
        if protocols.published is None:
            seconds = seconds_for(seconds, len(parts.train) + len(parts.test))
        twin = None
        if named_backbone(self.modality, self.recipe):
            twin = untrained_backbone(self.modality, self.recipe, self.facts)
            twin = as_it_began(twin.to(device), self.recipe, parts.train, plain)
        with _moved(self.backbone, device):
            return measure(
                self.backbone,
                twin,
                parts,
                plain=plain,
                bars=self.modality.bars,
                view=self.modality.supervised(self.views),
                protocols=protocols,
                seconds=seconds,
                quiet=quiet,
                modality=self.modality,
            )

    def own_data(self, data_root: str | Path | None = None) -> str:
        """Return the place or the name of what the run learned from, once it is sure that nothing else lies there.

        ValueError: they came as an object, or are not found; the message says where the run looked and what differs.
        """
        where = RunFolder(self.folder)
        place = own_data(where, self.modality, moved_to=self.moved_to, data_root=data_root)
        if self.moved_to is not None:
            where.remember(place_facts(self.modality, place, where.path))
        return place

    def _labelled(
        self, data: Any, data_root: str | Path | None, labels: str, hold_out: str, reading: Mapping[str, Any]
    ) -> tuple[dict[str, LabelledParts], str]:
        """Labelled data of a call, "" -> them or group -> them without it, and where they are; "" for an object."""
        given = self.facts
        root = data_root or given.get("data_root") or None
        if data is None and given.get("labels") == "none":
            raise ValueError(f"data: the run in {str(self.folder)!r} was told to use no labels; pass labelled data")
        wanted = self.own_data(data_root) if data is None else data
        own = data is None or is_own(RunFolder(self.folder), self.modality, data, data_root)
        kept = given.get("labels", "auto")  # "none" was said of learning; who asks for an evaluation wants labels
        labels = kept if own and labels == "auto" and kept != "none" else labels
        hold_out = hold_out or (given.get("hold_out", "") if own else "")
        asked = {"facts": given, "data_root": root, "labels": labels, **reading}
        parts: dict[str, LabelledParts | None] = {}
        if hold_out and not held_out_groups(hold_out):
            source = load_samples(self.modality, wanted, **asked)
            parts |= {name: parts_by_groups(source, f"{GROUP}={name}") for name in known_groups(source)}
        else:
            parts[""] = labelled_parts(self.modality, wanted, hold_out=hold_out, **asked)
        found = {name: one for name, one in parts.items() if one is not None}
        if not found:
            name = wanted if isinstance(wanted, (str, Path)) else f"the {type(wanted).__name__} given"
            raise ValueError(f"data: {name} has no labels to evaluate with; wanted class folders or labels")
        unseen = not own or (hold_out and hold_out == given.get("hold_out"))
        if unseen or learns_from_labels(self.recipe, self.method):  # such a run has set its test samples aside
            found = {name: replace(one, seen_in_pretraining=False) for name, one in found.items()}
        return found, place_of(self.modality, wanted)

    def write_features(
        self,
        data: Any = None,
        path: str | Path | None = None,
        *,
        data_root: str | Path | None = None,
        accelerator: str = "auto",
        quiet: bool = True,
        **reading: Any,
    ) -> int:
        """Write the representations of `data` to a file as `embed_to_file` does; return their number."""
        how: Any = {"data_root": data_root, "accelerator": accelerator, "quiet": quiet}
        return self.embed_to_file(data, path, **how, **reading).num_rows

    def embed_to_file(
        self,
        data: Any = None,
        path: str | Path | None = None,
        *,
        data_root: str | Path | None = None,
        accelerator: str = "auto",
        quiet: bool = True,
        **reading: Any,
    ) -> Embedded:
        """Write the representations of `data` to .npz or .parquet, with names, classes and what they come from.

        They go to the disk as they are computed, so the data may be of any size; the same call after a kill goes on and
        gives the same bytes. `barlow.read_embeddings` reads the file, or several as one. Under torchrun each process
        embeds its part of the samples into a file of its own, photos-00001-of-00004.parquet.

        Args:
            data: as for `embed`; None: the data of the run.
            path: .npz or .parquet; None: features/<name of the data>.npz in the run folder.
            data_root: where named data sets live.
            accelerator: auto, cpu, cuda or mps.
            reading: as for `embed`; of recordings also `window=` and `hop=` in seconds: every window of each, with
                columns "start" and "end" beside its name.
            quiet: no progress on the terminal.

        Returns:
            The file, the number of its rows, and the samples that could not be read.
        """
        if path is not None:
            check_suffix(path)
        device, asked, data = device_of(accelerator), said(**reading), listed(data)
        what = place_of(self.modality, data) or ("the data of the run" if data is None else type(data).__name__)
        Progress("embedding", 0, quiet=quiet).say(f"embedding: looking at {printable(what)}")
        root = data_root or (self.facts.get("data_root") or None if data is None else None)
        wanted = self.own_data(data_root) if data is None else data
        if {"window", "hop"} & asked.keys() and not self.modality.windows:
            raise ValueError(f"window, hop: got one of them for {self.modality.noun}s, wanted them for recordings only")
        asked |= {"data_root": root, "min_samples": 1, "memory_budget": 0}
        source = load_samples(self.modality, wanted, facts=self.facts, **asked)
        about = self.provenance(source, wanted)
        folder = RunFolder(self.folder).features if path is None else Path(path).expanduser().parent
        part = part_of_process()  # each has a file of its own
        alone = one_writer(folder, patience=FOR_OTHERS_SECONDS) if part is None else nullcontext()
        with alone, _moved(self.backbone, device):
            if path is None:
                out = free_path(folder, file_name_of(source.name), about["data"], part)
            else:
                out = Path(path).expanduser() if part is None else part.path(Path(path).expanduser())
            done = embed_to_file(
                out,
                self.backbone,
                OnDevice(source, device),
                plain=self.views.plain,
                batch_size=BATCH_SIZE,
                provenance=about,
                part=part,
                unit=f"{self.modality.noun}s",
                quiet=quiet,
            )
        warn_of_lost(source)
        return done

    def sampled(self, data: Any = None, *, data_root: str | Path | None = None, quiet: bool = True) -> "Sampled":
        """Return the features of `data` (None: of the run's own) with the samples they are of, to look into.

        It has what `barlow similar`, `duplicates`, `outliers`, `groups`, `label` and `classify` find, as methods of the
        same names. Features that lie in the run folder already are read from there.

        Example:
            of = run.sampled()
            [[of.embeddings.names[row] for row in group] for group in of.duplicates().groups]
        """
        from barlow.runs.features import sampled  # which knows this file

        return sampled(self, data, data_root=data_root, quiet=quiet)

    def export(self, to: str, path: str | Path, *, with_preprocessing: bool = False) -> tuple[str, ...]:
        """Write the backbone for other programs; nothing is written that gives other features there.

        Of a folder that `classify` wrote, the classifier: with its head, the names of its classes, and in a file of
        ONNX what makes network input of samples, where that is known.

        Args:
            to: "timm" (a folder) or "onnx" (a file).
            path: where to.
            with_preprocessing: of "onnx": the file takes uint8 images (N, H, W, C) of any size, and resizes and
                normalises them itself.

        Returns:
            Sentences on what the other program does in another way.

        Raises:
            ValueError: the backbone cannot be written that way; says why and what else there is.
        """
        facts, path = self.facts, Path(path).expanduser()
        if is_classifier(self.folder):
            return export_classifier(self, to, path, self._embed_batch)
        formats = (*self.modality.exports, "onnx")
        if to not in formats:
            raise unknown("to", to, formats)
        if to in self.modality.exports:
            if with_preprocessing:
                raise ValueError(f"with_preprocessing: got True with to={to!r}, wanted to='onnx': only that file can")
            return tuple(self.modality.exports[to](self.backbone, path, self.recipe, facts))
        if "input_shape" not in facts and "image_shape" not in facts:
            raise ValueError(
                f"to: got {to!r}, but the run in {str(self.folder)!r} does not say what its network takes; wanted "
                "barlow.export_onnx(run.backbone, example, path) on a batch"
            )
        known = None if self.recipe.views.startswith(OWN) else self.modality.preparation(self.recipe, facts)
        name = f"{self.modality.noun}s"
        if not with_preprocessing:
            example = self.modality.example(self.recipe, facts)
            export_onnx(
                self.backbone, example, path, input_name=name, metadata=None if known is None else known.metadata
            )
        elif known is None or known.module is None:
            raise ValueError(
                f"with_preprocessing: got True, but how {name} become network input is not known for the run in "
                f"{str(self.folder)!r} (views of its own, or another modality than images); wanted False"
            )
        else:
            export_prepared_onnx(self.backbone, known, self._embed_batch, path, input_name=name)
        return ()

    def _embed_batch(self, samples: Tensor) -> Tensor:
        return self.embed(ArraySource(samples), accelerator="cpu")

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


def open_run(
    folder: str | Path,
    *,
    data: str | Path | None = None,
    backbone: nn.Module | None = None,
    views: Views | None = None,
    modality: str | Modality | None = None,
    method: Builder | None = None,
) -> Run:
    """Open a run folder.

    Args:
        folder: made by `pretrain`.
        data: where the data of the run are now, if they moved; others than its own are refused when they are asked for.
        backbone: the network, where the run was given one as an object.
        views: the views, where the run was given them as an object.
        modality: of the run, where it is an object of your own.
        method: the class or function that built the method, where the run was given one and is to be audited.

    Raises:
        ValueError: no such run, one without a checkpoint, one whose files are links out of it, or objects that only
            their maker can give again.
    """
    where = RunFolder(Path(folder))
    where.require_own_files()
    recipe, facts = where.recipe(), where.data()
    kind = modality_of(facts, modality)
    if views is None and (recipe.views.startswith(OWN) or kind.views is None):
        raise ValueError(f"views: the run in {str(folder)!r} was given its views as an object; pass it again")
    if method is not None and (name := objects_among(method=method)["method"]) != recipe.method.removeprefix(OWN):
        raise ValueError(f"method: got {name}, but the run in {str(folder)!r} was trained with {recipe.method}")
    network = open_backbone(kind, where.checkpoints, recipe, facts, backbone)
    drawn = build_views(kind, recipe, facts, kept_memory(where.checkpoints)) if views is None else views
    return Run(
        where.path, recipe, network, drawn, finished=where.finished(), modality=kind, method=method, moved_to=data
    )
