"""Where an audit computes: copies of the networks on a device, and samples that are brought there before the views."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from barlow.auditing.subjects import Networks, Subject
from barlow.data.source import Batch, Source
from barlow.evaluation.features import to_device


def placed(subject: Subject, device: torch.device) -> Subject:
    """Return the subject with its networks and samples on a device; what comes out of networks is taken to the CPU.

    Args:
        subject: what is audited. A callable of the user's stays where the user has put it, and features need no device.
        device: where to compute.
    """
    if device.type == "cpu" or subject.source is None or subject.kind == "callable":
        return subject
    trained, untrained = (_copied(networks, device) for networks in (subject.trained, subject.untrained))
    return replace(subject, trained=trained, untrained=untrained, source=_Brought(subject.source, device))


def _copied(networks: Networks | None, device: torch.device) -> Networks | None:
    return None if networks is None else Networks(_copy(networks.backbone, device), _copy(networks.projector, device))


def _copy(network: Any, device: torch.device) -> Any:
    """A copy on the device that takes its input there: h waits for the projector on the CPU."""
    if not isinstance(network, nn.Module):
        return network
    moved = copy.deepcopy(network).to(device)
    moved.register_forward_pre_hook(lambda module, given: tuple(to_device(given, device)))
    return moved


class _Brought:
    """A `Source` whose samples are brought to a device."""

    def __init__(self, source: Source, device: torch.device) -> None:
        self.name, self.labels, self.class_names, self.bad = source.name, source.labels, source.class_names, source.bad
        self._source, self._device = source, device

    def __len__(self) -> int:
        return len(self._source)

    def describe(self, index: int) -> str:
        return self._source.describe(index)

    def batches(self, order: Sequence[int], batch_size: int) -> Iterator[Batch]:
        for batch in self._source.batches(order, batch_size):
            yield Batch(to_device(batch.samples, self._device), batch.indices)
