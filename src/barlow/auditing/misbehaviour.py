"""Networks that are no function of one image: in training mode, with BatchNorm of the batch, or left to chance.

Looked for before the passes that they would spoil.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from barlow.auditing.observation import features_of, project
from barlow.auditing.subjects import Subject
from barlow.evidence import spread

NUM_IMAGES = 32


@contextmanager
def evaluation_mode(subject: Subject) -> Iterator[list[str]]:
    """Put the networks of a subject into evaluation mode while the context lasts, and then back as they were.

    In training mode a forward pass would also change them: BatchNorm moves its statistics.

    Yields:
        Warnings about what was in training mode.
    """
    modes: dict[nn.Module, bool] = {}
    warned = []
    for what, network in _networks(subject):
        found = {module: module.training for module in network.modules()}
        if any(found.values()):
            warned.append(
                f"the {what} was in training mode: it was audited in evaluation mode, because BatchNorm and dropout "
                "would distort every figure"
            )
        modes |= found
    for module in modes:
        module.training = False
    try:
        yield warned
    finally:
        for module, mode in modes.items():
            module.training = mode


def _networks(subject: Subject) -> list[tuple[str, nn.Module]]:
    """What of a subject is known to be a module; a method of one, such as `forward_features`, is as well."""
    if subject.trained is None:
        return []
    owners = (("network", subject.trained.backbone), ("projector", subject.trained.projector))
    known = ((what, getattr(owner, "__self__", owner)) for what, owner in owners)
    return [(what, owner) for what, owner in known if isinstance(owner, nn.Module)]


@torch.inference_mode()
def misbehaviour(subject: Subject) -> list[str]:
    """Return warnings about networks that are no function of one image: BatchNorm of the batch, dropout, chance."""
    trained, source, views = subject.trained, subject.source, subject.views
    if trained is None or source is None or views is None:
        return []
    batch = next(source.batches(spread(len(source), NUM_IMAGES), NUM_IMAGES))
    x = views.plain(batch.samples)
    h, again, half = (features_of(trained.backbone, part) for part in (x, x, x[: len(x) // 2]))
    found = _of_one_image("network", "images", h, again, half)
    if trained.projector is not None and not found:
        z, again, half = (project(trained.projector, part) for part in (h, h, h[: len(h) // 2]))
        found = _of_one_image("projector", "features", z, again, half)
    return found


def _of_one_image(what: str, given: str, whole: Tensor, again: Tensor, half: Tensor) -> list[str]:
    scale = float(whole.std()) or 1.0
    if float((whole - again).abs().max()) > 1e-3 * scale:
        return [f"the {what} gives other outputs for the same {given}: its chance counts as augmentation here"]
    if float((whole[: len(half)] - half).abs().max()) > 1e-2 * scale:
        return [f"the {what}'s outputs for an image depend on the others of its batch: BatchNorm without statistics?"]
    return []
