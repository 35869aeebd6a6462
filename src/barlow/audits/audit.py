"""The audit of one backbone: subject -> observation -> figures -> verdicts, each a call below."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from barlow.audits.clock import FIT, FORWARDS, SUMS, Clock
from barlow.audits.comparison import compare_figures
from barlow.audits.effects import top_directions
from barlow.audits.estimated_losses import MOST_WORK
from barlow.audits.loss import advice, floor_curves, with_waterline
from barlow.audits.objective import Objective, check_normalization, losses, objective, why_no_loss
from barlow.audits.observation import (
    Observation,
    evaluation_mode,
    features_that_fit,
    images_that_fit,
    misbehaviour,
    observation_of_features,
    observe,
    seconds_per_view,
    set_apart,
    views_that_fit,
)
from barlow.audits.quantities import quantities
from barlow.audits.sensitivity import sensitivity
from barlow.audits.settings import AuditSettings, with_numbers
from barlow.audits.spectra import Spectra, doubts, spectra
from barlow.audits.subjects import Subject, before_training, open_subject, placed
from barlow.audits.verdicts.table import verdicts
from barlow.data.lost import lost_in
from barlow.figures import About, Changes, Figures, Settings, Verdict
from barlow.files import read_json, write_json
from barlow.methods.heads import widths_of
from barlow.modalities import said
from barlow.report.audit_page import write_audit_page
from barlow.runs.evidence import spread
from barlow.runs.folder import versions
from barlow.seams import Modality, View, Views, limits_of
from barlow.training.engine import device_of
from barlow.training.progress import Progress


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
        return write_audit_page(self.figures, Path(path).expanduser())

    def save(self, folder: str | Path) -> Path:
        """Write `audit.json` and `audit.html` into a folder and return the page."""
        where = Path(folder).expanduser()
        write_json(where / "audit.json", self.figures)
        return self.to_html(where / "audit.html")


def open_audit(folder: str | Path) -> Audit:
    """Return the audit that `save` left in a folder.

    Raises:
        ValueError: there is none.
    """
    path = Path(folder).expanduser() / "audit.json"
    if not path.exists():
        raise ValueError(f"folder: no audit.json in {str(folder)!r}; run `barlow audit` first")
    return Audit(read_json(path))


def compare_audits(before: Audit, after: Audit) -> Changes:
    """Say what changed between two audits.

    Args:
        before: of the first checkpoint or run.
        after: of the second, best with the same data and settings.
    """
    return compare_figures(before.figures, after.figures)


def audit(
    target: Any,
    data: Any = None,
    *,
    settings: AuditSettings | None = None,
    views: str | Views | View | None = None,
    projector: nn.Module | None = None,
    modality: str | Modality | None = None,
    name: str = "",
    **numbers: Any,
) -> Audit:
    """Say why a backbone is as it is: invariance spectrum, loss taken apart, augmentations, layers, and verdicts.

    Needs no labels. Nothing is trained but, for a run, a projector on half of the samples (`mlp`).

    Args:
        target: a Run or its folder; "timm:resnet50" or "torchvision:resnet50"; a checkpoint of Barlow Twins, lightly,
            solo-learn, stable-pretraining, timm or torchvision; a callable view -> (n, d); or features (n, K, d).
        data: samples, as for `pretrain`; None: those of the run.
        settings: the numbers of the audit; None: the defaults, without progress on the terminal.
        views: a name or pipelines; None: those of the run or of the recipe made for the data.
        projector: h -> z, for a callable or a checkpoint.
        modality: of the run or the data, where it is an object of your own.
        name: for titles.
        numbers: fields of `AuditSettings` to change, such as num_images=512. The loss of a checkpoint or a callable is
            taken apart where normalization=, batch_size= and z are known.

    Returns:
        The Audit; `save` writes its page.

    Raises:
        ValueError: what cannot be audited, arguments that cannot be, or a number that no audit has.
    """
    started = time.perf_counter()
    asked = with_numbers(settings or AuditSettings(), numbers)
    asked.check()
    clock = Clock(asked.seconds)
    check_normalization(asked.normalization)
    device = device_of(asked.accelerator)
    subject = open_subject(
        target, data, views=views, projector=projector, data_root=asked.data_root,
        weights="" if asked.weights == "none" else asked.weights, arch=asked.arch, prefix=asked.prefix or None,
        image_size=asked.image_size, name=name, modality=modality,
        reading=said(white_level=asked.white_level or None, channels_axis=asked.channels_axis),
    )  # fmt: skip
    lost = [] if subject.source is None else lost_in(subject.source)
    subject = replace(subject, notes=[*subject.notes, *lost])
    if asked.untrained:
        subject = before_training(subject)
    subject = placed(subject, device)
    with evaluation_mode(subject) as warned:
        found = _figures(replace(subject, notes=[*subject.notes, *warned]), asked, clock)
    seconds = time.perf_counter() - started
    figures = replace(found, settings=replace(found.settings, seconds=seconds)).to_json()
    figures["verdicts"] = [verdict.to_json() for verdict in verdicts(figures)]
    return Audit(figures)


def _figures(subject: Subject, asked: AuditSettings, clock: Clock) -> Figures:
    odd = misbehaviour(subject)  # before the passes that it would spoil
    seen, before, late = _seen(subject, asked, clock)
    with Progress("statistics of the audit", 3, unit="parts", quiet=asked.quiet) as progress:
        progress.update(0, "spectrum")
        known = spectra(seen.moments, seen.flips, seen.dtype, clock.directions)
        progress.update(1, "figures")
        found = _known(subject, asked, seen, known)
        progress.update(2, "loss")
        found = _with_loss(found, objective(subject, asked), seen, before, known, asked, clock)
        progress.update(3)
    reacts = sensitivity(
        subject, directions=top_directions(known.inside or seen.moments, known.basis), num_images=len(seen.h_a),
        forwards=seen.forwards_within(clock.left), seed=asked.seed, quiet=asked.quiet,
    )  # fmt: skip
    late += [f"{', '.join(reacts.left_out)}: no time was left"] if reacts.left_out else []
    late += [f"{clock.overrun:.0f} were taken"] if clock.overrun else []
    (share_z,) = [layer.augmentation_share for layer in reacts.layers if layer.name == "z"] or [None]
    return replace(
        found, quantities=replace(found.quantities, augmentation_share_z=share_z), augmentations=reacts.augmentations,
        directions=reacts.directions, layers=reacts.layers, warnings=[*found.warnings, *odd, *_of_time(late, asked)],
    )  # fmt: skip


def _known(subject: Subject, asked: AuditSettings, seen: Observation, known: Spectra) -> Figures:
    """What needs no loss."""
    measured, spectrum = quantities(seen, known)
    goal, num_features = objective(subject, asked), known.basis.shape[1]
    width = asked.width or (num_features if seen.z_a is None else seen.z_a.shape[1])
    return Figures(
        subject=_about(subject),
        settings=Settings(
            num_images=seen.moments.num_images, num_views=seen.num_views, num_features=num_features, width=width,
            redundancy_weight=goal.redundancy_weight, batch_size=goal.batch_size or None,
            normalization=goal.normalization or None, seed=asked.seed, exact=False,
            num_available=None if subject.source is None else len(subject.source),
        ),
        warnings=[*subject.notes, *why_no_loss(goal, seen), *doubts(known, seen.moments.num_images),
                  *_of_views(subject)],
        quantities=measured, spectrum=spectrum,
    )  # fmt: skip


def _with_loss(
    found: Figures, goal: Objective, seen: Observation, before: Observation | None, known: Spectra,
    asked: AuditSettings, clock: Clock,
) -> Figures:  # fmt: skip
    """The figures with the loss, where lambda is one that the theory has formulas for."""
    if goal.redundancy_weight > 1:
        return found
    same: Any = {"width": int(found.settings.width or 0), "redundancy_weight": goal.redundancy_weight}
    seconds = min(FIT * asked.seconds, clock.left / 2)
    loss, share = losses(goal, seen, before, known, mlp=asked.mlp, seconds=seconds)
    return replace(
        found, spectrum=with_waterline(found.spectrum, known, **same), advice=advice(found.spectrum.plug_in, **same),
        floors=floor_curves(known, batch_size=goal.batch_size or None, **same), loss=loss, projector_share=share,
    )  # fmt: skip


def _seen(subject: Subject, asked: AuditSettings, clock: Clock) -> tuple[Observation, Observation | None, list[str]]:
    """The features of the subject and, where it can be built, of the network before training; what had no time."""
    work = clock.usual**2 * MOST_WORK  # the views take less of a short time than of a long one
    if subject.features is not None:
        features = subject.features
        n = asked.num_images or features_that_fit(features, SUMS * asked.seconds, whole=asked.seconds)
        some = features if n >= len(features) else features[spread(len(features), n)]
        told = [f"{n} of {len(features)} samples"] if n < len(features) and not asked.num_images else []
        return replace(observation_of_features(some, asked.seconds), work=work), None, told
    if subject.trained is None or subject.source is None or subject.views is None:
        raise ValueError(f"target: {subject.name} has nothing to look at")
    both = [(subject.trained, "audit"), (subject.untrained, "audit of the untrained network")]
    networks = [(one, what) for one, what in both if one is not None]
    seconds = min(FORWARDS * asked.seconds, clock.left) / len(networks)
    num_views, late = asked.num_views, list[str]()
    if asked.num_images:
        n = asked.num_images
    else:
        each = seconds_per_view(subject, seconds, whole=asked.seconds)
        num_views = views_that_fit(subject, seconds=seconds, num_views=num_views, each=each)
        n = images_that_fit(subject, seconds=seconds, num_views=num_views, each=each)
    late += [f"{num_views} views of each sample instead of {asked.num_views}"] if num_views < asked.num_views else []
    n, seen = min(n, len(subject.source)), list[Observation]()
    for one, what in networks:
        if seen and seen[0].seconds > clock.left:
            late.append("the untrained network: no time was left")
            break
        with Progress(what, n, unit="samples", quiet=asked.quiet) as progress:
            found = observe(
                one, subject.source, subject.views, num_images=n, num_views=num_views, seed=asked.seed,
                keep_views=one is subject.untrained, seconds=asked.seconds, progress=progress,
            )  # fmt: skip
        seen.append(replace(found, work=work))
    return seen[0], seen[1] if len(seen) > 1 else None, late


def _of_time(late: list[str], asked: AuditSettings) -> list[str]:
    """Say what was left out for want of time."""
    if not late:
        return []
    return [f"{asked.seconds:g} seconds are short ({'; '.join(late)}): give more with --seconds"]


def _about(subject: Subject) -> About:
    widths = widths_of(None if subject.trained is None else subject.trained.projector)
    recipe = ({"projector": widths} if widths else {}) if subject.recipe is None else asdict(subject.recipe)
    data = "" if subject.source is None else subject.source.name
    return About(subject.name, subject.kind, data, recipe, versions())


def _of_views(subject: Subject) -> list[str]:
    if subject.views is None:
        return []
    pipelines = set_apart(subject.views)
    limits = [f"views: {said}" for said in dict.fromkeys(map(limits_of, pipelines)) if said]
    if len(pipelines) < 2:
        return limits
    return [
        *limits,
        "views a and b have different pipelines: spectrum, layers, the limit of a linear projector and bars without a "
        "letter are of view a; C need not be symmetric, and affine differences between the views are invisible to the "
        "loss",
    ]
