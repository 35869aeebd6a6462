"""Fine-tuning: the whole network is trained further on some or all of the labels, as the papers do with 1% and 10%.

    minimise cross-entropy(head(f(view)), label) over f and head, SGD, a learning rate for each, BatchNorm training.

What is returned is the accuracy after the last epoch. The published numbers are for ImageNet, where 1% of the labels
still are 12,800 pictures; on small data they barely move the network. There each network, trained or untrained, chooses
from `CHOICES` by the same rule, on labels held back from those that it may see.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from barlow.data.source import Source
from barlow.evaluation.arms import MOST_VALIDATION, VALIDATION_SHARE, binomial_error
from barlow.evaluation.features import device_of_network, to_device
from barlow.evaluation.finetune_numbers import CHOICES, FinetuneNumbers
from barlow.evaluation.splits import few_label_draws, validation_split
from barlow.views.views import View

MOST_CHOSEN_ON = 5000
"""Labels that take part in choosing; the fine-tuning itself sees all that it is allowed."""

Progress = Callable[[str], None]
"""Called with what is at work after every epoch."""


@dataclass(frozen=True)
class Finetuned:
    """The outcome of one fine-tuning.

    Attributes:
        fraction: share of the training labels that was seen.
        num_labels: their number.
        accuracy: on test data after the last epoch, in [0, 1].
        error: its binomial standard error.
        numbers: the numbers, chosen where there was a choice.
        validation: accuracy of every choice on the labels held back, in the order of the choices; empty without choice.
    """

    fraction: float
    num_labels: int
    accuracy: float
    error: float
    numbers: FinetuneNumbers
    validation: tuple[float, ...]

    def as_record(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        numbers = asdict(self.numbers) | {"drops": list(self.numbers.drops)}
        return asdict(self) | {"numbers": numbers, "validation": list(self.validation)}


def finetune(
    network: nn.Module,
    train: Source,
    test: Source,
    fraction: float,
    *,
    plain: Callable[[Any], Any],
    view: View | None = None,
    choices: Sequence[FinetuneNumbers] = CHOICES,
    seed: int = 0,
    progress: Progress | None = None,
) -> Finetuned:
    """Train a copy of a network with a linear layer on some of the labels, and score it on test data.

    Args:
        network: network input -> (N, d); left as it is.
        train: training samples with labels.
        test: test samples with labels; they choose nothing.
        fraction: share of the training labels to see: the same number of every class, or all of them for 1.
        plain: batch -> network input, without augmentation; for test and validation samples.
        view: what training samples go through; None: `plain`. Officially a random crop and a flip.
        choices: numbers to choose from on labels held back from those seen; a single one is simply used.
        seed: decides which labels, what is held back, the first weights, the order and the views.
        progress: called after every epoch.

    Returns:
        The outcome.

    Raises:
        ValueError: no labels, no choice, a fraction that is not in (0, 1] or leaves less than two labels of a class,
            or learning rates at which the network diverges.
    """
    if not choices:
        raise ValueError("choices: got none, wanted one or more FinetuneNumbers")
    labels = _labels(train, "train")
    seen = labelled_positions(labels, fraction, seed=seed)
    work = _Work(network, train, plain, view, seed, progress)
    numbers, validation = choices[0], tuple[float, ...]()
    if len(choices) > 1:
        numbers, validation = _choose(work, _at_most(seen, labels, seed), labels, choices)
    classifier = work.fit(seen, numbers, f"{100 * fraction:g}% of the labels")
    found = _score(classifier, test, range(len(test)), _labels(test, "test"), plain)
    if not math.isfinite(found.loss):
        raise ValueError(f"learning_rate: the network diverged at {numbers.learning_rate}, wanted a smaller one")
    error = binomial_error(found.accuracy, found.num_samples)
    return Finetuned(fraction, len(seen), found.accuracy, error, numbers, validation)


def labelled_positions(labels: Int64[Tensor, " n"], fraction: float, *, seed: int) -> Int64[Tensor, " m"]:
    """Draw the labelled samples: the same number of every class, `fraction` of all samples together.

    Args:
        labels: (n,) classes of the training samples.
        fraction: in (0, 1]; 1 is all of them, however unequal the classes are.
        seed: decides who; smaller fractions are parts of larger ones of the same seed.

    Returns:
        (m,) increasing positions; a class with fewer samples gives all it has.

    Raises:
        ValueError: a fraction outside (0, 1], or one that leaves less than two samples per class.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"finetune: got {fraction}, wanted a fraction of the labels in (0, 1], such as 0.01")
    if fraction == 1:
        return torch.arange(len(labels))
    num_classes = len(labels.unique())
    per_class = round(fraction * len(labels) / num_classes)
    if per_class < 2:
        raise ValueError(
            f"finetune: {fraction:g} of {len(labels):,} labels is {fraction * len(labels) / num_classes:.2g} for each "
            f"of {num_classes} classes, wanted at least 2; try {min(1.0, 2 * num_classes / len(labels)):.2g}"
        )
    return few_label_draws(labels, per_class=per_class, draws=1, seed=seed)[0]


@dataclass(frozen=True)
class _Work:
    """What all fits of one call share."""

    network: nn.Module
    train: Source
    plain: Callable[[Any], Any]
    view: View | None
    seed: int
    progress: Progress | None

    def fit(self, positions: Tensor, numbers: FinetuneNumbers, doing: str) -> nn.Sequential:
        """Train a copy of the network and a new layer; both come back in evaluation mode."""
        generator = torch.Generator().manual_seed(self.seed)
        classifier, optimizer = self._start(numbers, generator)
        labels, device = _labels(self.train, "train"), device_of_network(classifier)
        for epoch in range(numbers.epochs):
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * numbers.factor(epoch)
            order = positions[torch.randperm(len(positions), generator=generator)]
            classifier.train()
            for batch in self.train.batches(order.tolist(), numbers.batch_size):
                if len(batch.indices) == 1:  # BatchNorm has no spread to divide by
                    continue
                seen = self._seen(to_device(batch.samples, device), generator, numbers)
                optimizer.zero_grad()
                torch.autograd.backward(cross_entropy(classifier(seen), labels[batch.indices].to(device)))
                optimizer.step()
            if self.progress:
                self.progress(f"{doing}, epoch {epoch + 1}/{numbers.epochs}")
        return classifier.eval()

    def _seen(self, samples: Any, generator: torch.Generator, numbers: FinetuneNumbers) -> Any:
        if self.view is None or not numbers.augmented:
            return self.plain(samples)
        return self.view.apply(samples, self.view.sample(samples, generator))

    def _start(self, numbers: FinetuneNumbers, generator: torch.Generator) -> tuple[nn.Sequential, torch.optim.SGD]:
        network = copy.deepcopy(self.network).eval()
        device = device_of_network(network)
        first = next(self.train.batches(range(min(len(self.train), 8)), 8))
        with torch.no_grad():
            width = network(self.plain(to_device(first.samples, device))).shape[1]
        head = nn.Linear(width, int(_labels(self.train, "train").max()) + 1)
        with torch.no_grad():
            head.weight.normal_(0.0, numbers.init_std, generator=generator)
            head.bias.zero_()
        classifier = nn.Sequential(network, head.to(device))
        for parameter in classifier.parameters():
            parameter.requires_grad_()
        rates = ((network, numbers.learning_rate), (head, numbers.head_learning_rate))
        groups = [{"params": list(part.parameters()), "lr": rate, "peak": rate} for part, rate in rates]
        optimizer = torch.optim.SGD(
            groups, momentum=numbers.momentum, weight_decay=numbers.weight_decay, nesterov=numbers.nesterov
        )
        return classifier, optimizer


def _choose(
    work: _Work, seen: Tensor, labels: Tensor, choices: Sequence[FinetuneNumbers]
) -> tuple[FinetuneNumbers, tuple[float, ...]]:
    """The numbers with the most right answers on labels held back; of equals the smallest cross-entropy."""
    split = validation_split(labels[seen], fraction=VALIDATION_SHARE, most=MOST_VALIDATION, seed=work.seed)
    held = seen[split.validation].tolist()
    found = []
    for place, numbers in enumerate(choices):
        classifier = work.fit(seen[split.fit], numbers, f"choice {place + 1} of {len(choices)}")
        found.append(_score(classifier, work.train, held, labels, work.plain))
    best = max(range(len(choices)), key=lambda place: found[place].rank)
    return choices[best], tuple(held.accuracy for held in found)


@dataclass(frozen=True)
class _Held:
    """How a classifier did: right answers, and the sum of the cross-entropy over samples of classes that it has."""

    num_samples: int
    num_right: int
    loss: float

    @property
    def accuracy(self) -> float:
        return self.num_right / max(self.num_samples, 1)

    @property
    def rank(self) -> tuple[float, float]:
        """Higher is better; a network that diverged comes last."""
        return (self.accuracy, -self.loss) if math.isfinite(self.loss) else (-1.0, 0.0)


@torch.inference_mode()
def _score(
    classifier: nn.Module, source: Source, positions: Sequence[int], labels: Tensor, plain: Callable[[Any], Any]
) -> _Held:
    device = device_of_network(classifier)
    num_samples, num_right, loss = 0, 0, 0.0
    for batch in source.batches(positions, 512):
        logits = classifier(plain(to_device(batch.samples, device))).float().cpu()
        wanted = labels[batch.indices]
        num_samples += len(wanted)
        num_right += int((logits.argmax(dim=1) == wanted).sum())
        known = wanted < logits.shape[1]
        loss += float(cross_entropy(logits[known], wanted[known], reduction="sum"))
    return _Held(num_samples, num_right, loss)


def _at_most(seen: Tensor, labels: Tensor, seed: int) -> Tensor:
    """A class-balanced part of the labels seen, where they are more than it takes to choose."""
    if len(seen) <= MOST_CHOSEN_ON:
        return seen
    return seen[labelled_positions(labels[seen], MOST_CHOSEN_ON / len(seen), seed=seed)]


def _labels(source: Source, part: str) -> Tensor:
    if source.labels is None or len(source.labels) == 0 or int(source.labels.min()) < 0:
        raise ValueError(f"{part}: {source.name} lacks labels, wanted a class from 0 for every sample")
    return source.labels
