"""The linear protocol of the papers: a linear layer over frozen features, by default 100 epochs of SGD.

For comparison with published figures; `linear.py` is the better measure, because it has no learning rate that may
not suit the features. What is returned is the accuracy after the last epoch: the official code reports that of the
best epoch, chosen on the same data.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from barlow.evaluation.features import Features, extract
from barlow.seams import Source, View
from barlow.training.optimizers import LARS


@dataclass(frozen=True)
class SgdNumbers:
    """The numbers of the protocol; the defaults are those of `evaluate.py --weights freeze` of Barlow Twins.

    Attributes:
        learning_rate: at the start, for `batch_size`.
        final_learning_rate: 0: a cosine to 0 in steps of one epoch. Otherwise the rate falls by the same factor after
            every epoch, so that one epoch after the last it would be this.
        optimizer: "sgd"; "larc": steps as long as 0.001 of their parameter, times the rate, where the bias, which
            starts at 0, adapts from its second step on; or "adam", with torch's other defaults.
        momentum: of SGD and LARC.
        nesterov: of SGD.
        weight_decay: of weight and bias; for Adam it is added to the gradient.
        init_std: standard deviation of the first weights; the bias starts at 0.
        augmented: whether the source draws crops and flips anew in every epoch. `Run.evaluate` does what it says;
            `sgd_linear_accuracy` uses the features that it gets.
        seed: of the first weights, and of the order of the samples.
    """

    epochs: int = 100
    batch_size: int = 256
    learning_rate: float = 0.3
    final_learning_rate: float = 0.0
    optimizer: Literal["sgd", "larc", "adam"] = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-6
    init_std: float = 0.01
    augmented: bool = True
    seed: int = 0

    def rate_of(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        if self.final_learning_rate:
            ratio = self.final_learning_rate / self.learning_rate
            return self.learning_rate * float(ratio ** (epoch / self.epochs))
        return self.learning_rate * 0.5 * (1.0 + cos(pi * epoch / self.epochs))


BARLOW_TWINS = SgdNumbers()


def sgd_linear_accuracy(
    train: Features | Callable[[int], Features],
    test: Features,
    numbers: SgdNumbers = BARLOW_TWINS,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> float:
    """Fit the linear layer and return the test accuracy, in [0, 1], after the last epoch.

    Features come as the network gives them (not standardised). `train` is either those of the unaugmented samples, used
    in every epoch: fast, but not quite the official protocol, which crops and flips every image anew. Or epoch ->
    features, as `augmented_features` returns: the official one. ValueError: features without labels, no epoch, or a
    learning rate at which the layer diverges.
    """
    if numbers.epochs < 1:
        raise ValueError(f"epochs: got {numbers.epochs}, wanted at least 1")
    generator = torch.Generator().manual_seed(numbers.seed)
    test_y = _labels(test, "test")
    layer: list[Tensor] = []
    optimizer: torch.optim.Optimizer | None = None
    for epoch in range(numbers.epochs):
        seen = train if isinstance(train, Features) else train(epoch)
        if optimizer is None:
            layer = _first_layer(seen, numbers, generator)
            optimizer = _optimizer(layer, numbers)
        for group in optimizer.param_groups:
            group["lr"] = numbers.rate_of(epoch)
        _pass_over(seen, layer, optimizer, numbers.batch_size, generator)
        if progress:
            progress(epoch + 1, numbers.epochs)
    with torch.no_grad():
        logits = linear(test.h, *layer)
    if not logits.isfinite().all():
        raise ValueError(f"learning_rate: the layer diverged at {numbers.learning_rate}, wanted a smaller one")
    return float((logits.argmax(dim=1) == test_y).double().mean())


def augmented_features(
    represent: Callable[[Any], Tensor],
    source: Source,
    view: View,
    *,
    seed: int = 0,
    batch_size: int = 512,
) -> Callable[[int], Features]:
    """Return epoch -> features of freshly augmented training samples, for `sgd_linear_accuracy`; epochs count from 0.

    As the network is frozen, it makes no difference that an epoch's features are computed before its steps. Each epoch
    costs a pass of all samples through the network, and has the same views in every run of the same seed. Officially
    `view` is a random resized crop and a flip.
    """
    generator = torch.Generator()

    def augment(batch: Any) -> Any:
        return view.apply(batch, view.sample(batch, generator))

    def features(epoch: int) -> Features:
        generator.manual_seed(seed + epoch)
        return extract(represent, source, plain=augment, batch_size=batch_size)

    return features


def _optimizer(layer: list[Tensor], numbers: SgdNumbers) -> torch.optim.Optimizer:
    rate, momentum, decay = numbers.learning_rate, numbers.momentum, numbers.weight_decay
    if numbers.optimizer == "adam":
        return torch.optim.Adam(layer, rate, weight_decay=decay)
    if numbers.optimizer == "larc":
        return LARS(layer, lr=rate, momentum=momentum, weight_decay=decay)
    return torch.optim.SGD(layer, rate, momentum, weight_decay=decay, nesterov=numbers.nesterov)


def _first_layer(train: Features, numbers: SgdNumbers, generator: torch.Generator) -> list[Tensor]:
    """Weight (k, d) and bias (k,)."""
    shape = (int(_labels(train, "train").max()) + 1, train.h.shape[1])
    weight = numbers.init_std * torch.randn(shape, generator=generator)
    return [weight.requires_grad_(), torch.zeros(shape[0], requires_grad=True)]


def _pass_over(
    train: Features,
    layer: list[Tensor],
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    generator: torch.Generator,
) -> None:
    labels = _labels(train, "train")
    for rows in torch.split(torch.randperm(len(train), generator=generator), batch_size):
        optimizer.zero_grad()
        torch.autograd.backward(cross_entropy(linear(train.h[rows], *layer), labels[rows]))
        optimizer.step()


def _labels(features: Features, part: str) -> Tensor:
    if features.labels is None:
        raise ValueError(f"{part}: its features have no labels, wanted one for every sample")
    return features.labels
