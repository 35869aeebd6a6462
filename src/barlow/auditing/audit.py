"""The audit of one backbone: subject -> observation -> figures -> verdicts, each a call below."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from barlow.auditing.accounting import advice, floor_curves, with_waterline
from barlow.auditing.directions import top_directions
from barlow.auditing.misbehaviour import evaluation_mode, misbehaviour
from barlow.auditing.objective import check_normalization, losses, objective, why_no_loss
from barlow.auditing.observation import (
    FEWEST_IMAGES,
    NUM_VIEWS,
    Observation,
    images_that_fit,
    observation_of_features,
    observe,
    set_apart,
)
from barlow.auditing.placement import placed
from barlow.auditing.quantities import quantities
from barlow.auditing.sensitivity import sensitivity
from barlow.auditing.spectra import doubts, spectra
from barlow.auditing.subjects import Subject, before_training, open_subject
from barlow.auditing.verdicts import Verdict, verdicts
from barlow.engine import device_of
from barlow.networks.foreign_heads import widths_of
from barlow.report.audit_page import write_audit_page
from barlow.run_folder import versions
from barlow.training.durable_file import durable_file
from barlow.training.progress import Progress
from barlow.views.views import View, Views

SECONDS = 60.0
"""About how long the main passes may take, those of the untrained network as long again, effects and layers as well."""


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes:
        figures: everything, as in audit.json: "quantities", "spectrum", "loss", "augmentations", "layers", ...
    """

    figures: Mapping[str, Any]

    @property
    def verdicts(self) -> list[Verdict]:
        """The sentences, warnings first."""
        return verdicts(self.figures)

    @property
    def spectrum(self) -> Mapping[str, Any]:
        """The invariance spectrum: "plug_in" and "cross_fit" correlations, the null "edge", the "waterline"."""
        found: Mapping[str, Any] = self.figures["spectrum"]
        return found

    def to_html(self, path: str | Path) -> Path:
        """Write the page and return where it is."""
        return write_audit_page(self.figures, Path(path))

    def save(self, folder: str | Path) -> Path:
        """Write `audit.json` and `audit.html` into a folder and return the page."""
        where = Path(folder)
        where.mkdir(parents=True, exist_ok=True)
        with durable_file(where / "audit.json") as file:
            file.write(json.dumps(self.figures, indent=1).encode())
        return self.to_html(where / "audit.html")


def open_audit(folder: str | Path) -> Audit:
    """Return the audit that `save` left in a folder.

    Raises:
        ValueError: there is none.
    """
    path = Path(folder) / "audit.json"
    if not path.exists():
        raise ValueError(f"folder: no audit.json in {str(folder)!r}; run `barlow audit` first")
    return Audit(json.loads(path.read_text(encoding="utf-8")))


def audit(
    target: Any,
    data: Any = None,
    *,
    views: str | Views | View | None = None,
    projector: nn.Module | None = None,
    width: int = 0,
    redundancy_weight: float = 0.0,
    normalization: str = "",
    batch_size: int = 0,
    num_images: int = 0,
    num_views: int = NUM_VIEWS,
    seconds: float = SECONDS,
    mlp: bool = True,
    untrained: bool = False,
    data_root: str | Path | None = None,
    weights: str = "default",
    arch: str = "",
    prefix: str | None = None,
    image_size: int = 0,
    accelerator: str = "auto",
    seed: int = 0,
    name: str = "",
    quiet: bool = True,
) -> Audit:
    """Say why a backbone is as it is: invariance spectrum, loss taken apart, augmentations, layers, and verdicts.

    Needs no labels. Nothing is trained but, for a run, a projector on half of the images (`mlp`).

    Args:
        target: a Run or its folder; "timm:resnet50" or "torchvision:resnet50"; a checkpoint of Barlow Twins, lightly,
            solo-learn, stable-pretraining, timm or torchvision; a callable view -> (n, d); or features (n, K, d).
        data: pictures, as for `pretrain`; None: those of the run.
        views: a name or pipelines; None: those of the run or of the recipe made for the data.
        projector: h -> z, for a callable or a checkpoint.
        width: D for floors and waterline; 0: that of the projector, else d.
        redundancy_weight: lambda for them; 0: that of the run, else the default.
        normalization: of the loss; "": that of the run, and "pearson" for an official Barlow Twins checkpoint. The loss
            is taken apart where it, z and N are known.
        batch_size: N of the loss and its floor; 0: that of the run.
        num_images: n; 0: as many as fit into `seconds`, at most 8192.
        num_views: K per image.
        seconds: about how long the main passes of a network may take; effects, curves and layers take together at most
            about as long again, on fewer images where the network is slow.
        mlp: whether the projector's share is also measured with an MLP, which takes up to half a minute.
        untrained: audit the network of a run as it was before training.
        data_root: where named data sets live.
        weights: of a model by name: "default", a file, or "" for none.
        arch: name of the network in a checkpoint, as for `load_foreign`; "": told from a ResNet's shapes.
        prefix: where it stands in the file; None: where most of it is found.
        image_size: side of the views; 0: that of the run or of the data.
        accelerator: where networks compute: auto, cpu, cuda or mps. A callable computes where you have put it.
        seed: of the views.
        name: for titles.
        quiet: no progress on the terminal.

    Returns:
        The Audit; `save` writes its page.

    Raises:
        ValueError: what cannot be audited, or arguments that cannot be.
    """
    started = time.perf_counter()
    for argument, value, least in (
        ("num_views", num_views, 2),
        ("num_images", num_images or FEWEST_IMAGES, FEWEST_IMAGES),
    ):
        if value < least:
            raise ValueError(f"{argument}: got {value}, wanted at least {least}")
    check_normalization(normalization)
    device = device_of(accelerator)
    subject = open_subject(
        target, data, views=views, projector=projector, data_root=data_root,
        weights=weights, arch=arch, prefix=prefix, image_size=image_size, name=name,
    )  # fmt: skip
    if untrained:
        subject = before_training(subject)
    subject = placed(subject, device)
    settings = _Settings(
        width, redundancy_weight, normalization, batch_size, num_images, num_views, seconds, mlp, seed, quiet
    )
    with evaluation_mode(subject) as warned:
        figures = _figures(replace(subject, notes=[*subject.notes, *warned]), settings)
    figures["settings"]["seconds"] = time.perf_counter() - started
    figures["verdicts"] = [verdict.to_dict() for verdict in verdicts(figures)]
    return Audit(figures)


@dataclass(frozen=True)
class _Settings:
    """The numbers of one call of `audit`."""

    width: int
    redundancy_weight: float
    normalization: str
    batch_size: int
    num_images: int
    num_views: int
    seconds: float
    mlp: bool
    seed: int
    quiet: bool


def _figures(subject: Subject, asked: _Settings) -> dict[str, Any]:
    odd = misbehaviour(subject)  # before the passes that it would spoil
    seen, before = _seen(subject, asked)
    known = spectra(seen.moments)
    measured, spectrum = quantities(seen, known)
    num_features = len(seen.moments.covariances().mean)
    width = asked.width or (num_features if seen.z_a is None else seen.z_a.shape[1])
    goal = objective(
        subject, normalization=asked.normalization, redundancy_weight=asked.redundancy_weight,
        batch_size=asked.batch_size,
    )  # fmt: skip
    weight, size = goal.redundancy_weight, goal.batch_size
    found: dict[str, Any] = {
        "subject": _about(subject),
        "settings": {
            "num_images": seen.moments.num_images, "num_views": seen.num_views, "num_features": num_features,
            "width": width, "redundancy_weight": weight, "batch_size": size or None,
            "normalization": goal.normalization or None, "seed": asked.seed, "exact": False,
        },
        "warnings": [*subject.notes, *odd, *why_no_loss(goal, seen), *doubts(known, seen.moments.num_images),
                     *_of_views(subject)],
        "quantities": measured, "spectrum": spectrum, "loss": None, "projector_share": None,
        "floors": {}, "advice": {}, "augmentations": [], "directions": [], "layers": [],
    }  # fmt: skip
    if weight <= 1:
        found["spectrum"] = with_waterline(spectrum, known, width=width, redundancy_weight=weight)
        found["advice"] = advice(spectrum["plug_in"], width=width, redundancy_weight=weight)
        found["floors"] = floor_curves(known, width=width, redundancy_weight=weight, batch_size=size or None)
        found |= losses(goal, seen, before, known, mlp=asked.mlp)
    found |= sensitivity(
        subject, directions=top_directions(seen.moments, known.basis), num_images=len(seen.h_a),
        forwards=seen.forwards_within(asked.seconds), seed=asked.seed, quiet=asked.quiet,
    )  # fmt: skip
    if "z" in (shares := {row["name"]: row for row in found["layers"]}):
        share = shares["z"]
        measured["augmentation_share_z"] = {"value": share["augmentation_share"], "error": share["error"]}
    return found


def _seen(subject: Subject, asked: _Settings) -> tuple[Observation, Observation | None]:
    """The features of the subject and, where it can be built, of the network before training."""
    if subject.features is not None:
        return observation_of_features(subject.features), None
    if subject.trained is None or subject.source is None or subject.views is None:
        raise ValueError(f"target: {subject.name} has nothing to look at")
    n = min(asked.num_images or images_that_fit(subject, seconds=asked.seconds, num_views=asked.num_views),
            len(subject.source))  # fmt: skip
    seen = []
    for networks, what in ((subject.trained, "audit"), (subject.untrained, "audit of the untrained network")):
        if networks is not None:
            with Progress(what, n, unit="images", quiet=asked.quiet) as progress:
                seen.append(
                    observe(
                        networks, subject.source, subject.views, num_images=n, num_views=asked.num_views,
                        seed=asked.seed, keep_views=networks is subject.untrained, progress=progress,
                    )
                )  # fmt: skip
    return seen[0], seen[1] if len(seen) > 1 else None


def _about(subject: Subject) -> dict[str, Any]:
    widths = widths_of(None if subject.trained is None else subject.trained.projector)
    recipe = ({"projector": widths} if widths else {}) if subject.recipe is None else asdict(subject.recipe)
    data = "" if subject.source is None else subject.source.name
    return {"name": subject.name, "kind": subject.kind, "data": data, "recipe": recipe, "versions": versions()}


def _of_views(subject: Subject) -> list[str]:
    if subject.views is None or len(set_apart(subject.views)) < 2:
        return []
    return [
        "views a and b have different pipelines: spectrum, layers, the limit of a linear projector and bars without a "
        "letter are of view a; C need not be symmetric, and affine differences between the views are invisible to the "
        "loss"
    ]
