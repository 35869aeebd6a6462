"""What a network is worth on each data set of a sequence: its loss on fixed held-out pairs, and a few-label probe."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from barlow.applications.continual.domains import Domain
from barlow.applications.continual.statistics import statistics_of, with_statistics
from barlow.data.order import evenly_spaced
from barlow.evaluation.features import Features, calibrate_batchnorm, extract
from barlow.evaluation.linear import few_label_accuracy
from barlow.evaluation.splits import few_label_draws
from barlow.seams import Method, OnDevice, Source, Views, inside
from barlow.training.order import view_generator

PAIRS = 256
"""Pairs of views of a data set; where fewer samples are held out, each of them gives several."""
PAIRS_SEED = 20230503
PROBE_SAMPLES, PER_CLASS, DRAWS = 2000, 10, 5
"""Of the few-label probe: training samples that labels are drawn from, labels of a class, draws."""
CALIBRATION = 1024

Figures = dict[str, dict[str, Any]]
"""Kind of figure -> name of the data set -> value: "loss", "own_statistics", "probe"."""


@torch.no_grad()
def held_out_loss(method: nn.Module, views: Views, source: Source, *, seed: int = PAIRS_SEED) -> float:
    """Return a method's own loss on fixed pairs of views of held-out samples, in evaluation mode, in one batch."""
    own = inside(method)
    before = own.training
    own.eval()
    device = next(own.parameters()).device
    order = evenly_spaced(len(source), PAIRS)
    order = [order[number % len(order)] for number in range(PAIRS)]
    losses = []
    for batch in OnDevice(source, device).batches(order, PAIRS):
        losses.append(float(own(views.draw(batch.samples, view_generator(seed, 0))).total))
    own.train(before)
    if not losses:
        raise ValueError(f"source: none of the held-out samples of {source.name} could be read")
    return losses[0]


def losses_by_domain(
    method: nn.Module, views: Views, domains: Sequence[Domain], statistics: Mapping[str, Mapping[str, Tensor]]
) -> Figures:
    """Return the loss on every data set as the network is, and with the statistics of those that it has learned."""
    own = inside(method)
    found: Figures = {"loss": {}, "own_statistics": {}}
    for domain in domains:
        found["loss"][domain.name] = held_out_loss(own, views, domain.held_out)
        if domain.name in statistics:
            with with_statistics(own, statistics[domain.name]):
                found["own_statistics"][domain.name] = held_out_loss(own, views, domain.held_out)
    return found


def probes_by_domain(
    method: Method, views: Views, domains: Sequence[Domain], statistics: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, Any]:
    """Return the accuracy with few labels on every data set that has labels, mean and deviation over the draws.

    With the statistics of a data set where there are some.
    """
    found = {}
    for domain in domains:
        known = statistics.get(domain.name)
        with with_statistics(method, known) if known else nullcontext():
            accuracy = few_label_probe(method, views, domain)
        if accuracy is not None:
            found[domain.name] = accuracy
    return found


def few_label_probe(method: Method, views: Views, domain: Domain) -> dict[str, float] | None:
    """Return the few-label accuracy of the features on one data set; None without labels to tell classes by."""
    labels = domain.train.labels
    if labels is None or domain.held_out.labels is None or int(labels.unique().numel()) < 2:
        return None
    method.eval()
    device, plain = next(method.parameters()).device, views.bare().plain
    order = evenly_spaced(len(domain.train), PROBE_SAMPLES)
    parts = ((domain.train, order), (domain.held_out, range(len(domain.held_out))))
    train, test = (
        _labelled(extract(method.represent, OnDevice(source, device), plain=plain, order=list(some)))
        for source, some in parts
    )
    draws = few_label_draws(train[1], per_class=PER_CLASS, draws=DRAWS, seed=0)
    score = few_label_accuracy(*train, *test, draws)
    majority = float(test[1].bincount().max()) / len(test[1])
    return {"mean": score.mean, "std": score.std, "majority": majority}


def _labelled(features: Features) -> tuple[Tensor, Tensor]:
    assert features.labels is not None
    known = features.labels >= 0
    return features.h[known], features.labels[known]


def untrained_statistics(method: Method, views: Views, domain: Domain) -> dict[str, Tensor]:
    """Return BatchNorm statistics of a data set for a network that has learned from none: fair to it as a bar."""
    both = nn.Sequential(method.backbone, method.projector).eval()
    device = next(method.parameters()).device
    batch = min(PAIRS, len(domain.train))
    order = evenly_spaced(len(domain.train), max(batch, CALIBRATION // batch * batch))
    samples = OnDevice(domain.train, device).batches(order[: len(order) // batch * batch], batch)
    before = statistics_of(method)
    calibrate_batchnorm(both, (views.bare().plain(one.samples) for one in samples))
    found = statistics_of(method)
    for name, value in before.items():
        place, _, statistic = name.rpartition(".")
        method.get_submodule(place).get_buffer(statistic).copy_(value)
    return found
