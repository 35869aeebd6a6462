"""How the papers evaluate: their linear protocol, and fine-tuning on 1% and 10% of the labels, in numbers.

All are for ImageNet but W-MSE's, which are for CIFAR, STL-10 and Tiny ImageNet. Common to the sources: crops and flips
in training (W-MSE: neither), BatchNorm fixed in the linear protocol and trained in fine-tuning, a test on the central
square. What differs here for all: the last epoch counts, not the best on test data; crops and flips are those of the
run's own views; labels are drawn evenly by class, not from SimCLR's lists; the test square has the side of the run's
views instead of 224 pixels out of 256.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from barlow.evaluation.finetune import FinetuneNumbers
from barlow.evaluation.sgd_linear import SgdNumbers


@dataclass(frozen=True)
class PublishedProtocol:
    """How one method is evaluated by those who published it.

    Attributes:
        source: where the numbers stand.
        linear: of the layer on the frozen network.
        finetune: by share of the labels; empty where the source does not fine-tune.
        note: what else differs here, or differs between paper and code; often nothing.
    """

    source: str
    linear: SgdNumbers
    finetune: Mapping[float, FinetuneNumbers] = field(default_factory=dict)
    note: str = ""

    def numbers_for(self, fraction: float) -> FinetuneNumbers:
        """Return the numbers of the published share that is nearest by ratio: those of 10% also for all labels."""
        if not self.finetune:
            raise ValueError(f"finetune: got {fraction:g}, wanted none: {self.source} does not fine-tune")
        return self.finetune[min(self.finetune, key=lambda share: abs(math.log(share / fraction)))]

    def as_record(self) -> dict[str, Any]:
        """Return what JSON holds of it; the numbers of fine-tuning stand with their results."""
        return {"source": self.source, "note": self.note, "linear": asdict(self.linear)}


_DROPS = (0.6, 0.8)
"""To a fifth after 12 and after 16 of 20 epochs."""

PUBLISHED: dict[str, PublishedProtocol] = {
    "barlow_twins": PublishedProtocol(
        source="facebookresearch/barlowtwins, evaluate.py and README",
        linear=SgdNumbers(),
        finetune={0.01: FinetuneNumbers(), 0.1: FinetuneNumbers()},
        note="the paper fine-tunes with 0.002 instead of 0.005, and two drops instead of the cosine",
    ),
    "vicreg": PublishedProtocol(
        source="facebookresearch/vicreg, evaluate.py and README",
        linear=SgdNumbers(learning_rate=0.02),
        finetune={
            0.01: FinetuneNumbers(learning_rate=0.03, head_learning_rate=0.08),
            0.1: FinetuneNumbers(learning_rate=0.01, head_learning_rate=0.1),
        },
    ),
    "vicregl": PublishedProtocol(
        source="facebookresearch/VICRegL, README for ResNet-50",
        linear=SgdNumbers(learning_rate=0.02),
        note="for a ConvNeXt the official rate is 0.3",
    ),
    "simsiam": PublishedProtocol(
        source="facebookresearch/simsiam, main_lincls.py --lars and README",
        linear=SgdNumbers(
            epochs=90, batch_size=4096, learning_rate=0.1 * 4096 / 256, weight_decay=0.0, optimizer="larc"
        ),
    ),
    "simclr": PublishedProtocol(
        source="Chen et al. 2020, appendices B.5 and B.6, and google-research/simclr, README",
        linear=SgdNumbers(
            epochs=90, batch_size=4096, learning_rate=0.1 * 4096 / 256, weight_decay=0.0, nesterov=True, init_std=0.0
        ),
        finetune={
            share: FinetuneNumbers(
                epochs=epochs,
                batch_size=4096,
                learning_rate=0.05 * 4096 / 256,
                head_learning_rate=0.05 * 4096 / 256,
                nesterov=True,
                init_std=0.0,
            )
            for share, epochs in ((0.01, 60), (0.1, 30))
        },
        note="the cosine goes by epochs, officially by steps",
    ),
    "swav": PublishedProtocol(
        source="facebookresearch/swav, eval_linear.py, eval_semisup.py and README",
        linear=SgdNumbers(),
        finetune={
            0.01: FinetuneNumbers(learning_rate=0.02, head_learning_rate=5.0, drops=_DROPS),
            0.1: FinetuneNumbers(learning_rate=0.01, head_learning_rate=0.2, drops=_DROPS),
        },
        note="fine-tuning: the layer starts with a deviation of 0.01, officially at torch's default, 0.013",
    ),
    "wmse": PublishedProtocol(
        source="Ermolov et al. 2021, section 4, and htdt/self-supervised, eval/sgd.py",
        linear=SgdNumbers(
            epochs=500,
            batch_size=1000,
            learning_rate=1e-2,
            final_learning_rate=1e-6,
            optimizer="adam",
            weight_decay=5e-6,
            augmented=False,
        ),
        note="the layer starts with a deviation of 0.01, officially at torch's default, 0.026; the last samples of an "
        "epoch make a smaller batch, officially they are left out; beside it the source votes among 5 neighbours",
    ),
    "byol": PublishedProtocol(
        source="google-deepmind/deepmind-research, byol/configs/eval.py, byol/main_loop.py and README",
        linear=SgdNumbers(epochs=80, batch_size=4096, learning_rate=0.2 * 4096 / 256, weight_decay=0.0, nesterov=True),
        note="the cosine goes by epochs, officially by steps; the layer starts with a deviation of 0.01, officially "
        "0.022; the paper chooses among five rates on validation data",
    ),
}
"""By method. SIGReg has none that was checked, and the optimal projector, which is ours, has none."""


def published_protocol(method: str) -> PublishedProtocol:
    """Return how the source of a method evaluates it; ValueError without an entry in `PUBLISHED`."""
    if method not in PUBLISHED:
        raise ValueError(
            f"protocol: got 'published' for a run of {method}, wanted 'ours', or a run of {', '.join(PUBLISHED)}: for "
            "other methods no numbers are known that our optimizers can take"
        )
    return PUBLISHED[method]
