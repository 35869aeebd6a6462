"""A classifier for other programs: its network with the head and the names of classes, compared before it counts."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from barlow.errors import unknown
from barlow.features.classifier import load_classifier
from barlow.recipes import OWN
from barlow.runs.export import export_onnx, export_prepared_onnx
from barlow.seams import Head

if TYPE_CHECKING:
    from barlow.runs.run import Run

OUTPUT = "probabilities"
"""Name of the output in an ONNX file of a classifier."""


class _Classifying(nn.Module):
    """A network that gives the probabilities of a head: view -> (N, c)."""

    def __init__(self, network: nn.Module, head: Head) -> None:
        super().__init__()
        self.network, self.layer = network, nn.Linear(head.weight.shape[1], head.weight.shape[0])
        with torch.no_grad():
            self.layer.weight.copy_(head.weight)
            self.layer.bias.copy_(head.bias)

    def forward(self, view: Any) -> Tensor:
        """Return probabilities."""
        found: Tensor = self.layer(self.network(view)).softmax(dim=1)
        return found


def export_classifier(run: "Run", to: str, path: Path, embed: Callable[[Tensor], Tensor]) -> tuple[str, ...]:
    """Write the classifier in the folder of a model for other programs.

    Args:
        run: the folder that `classify` wrote, opened.
        to: "onnx", one file from raw samples (where it is known how they become network input; else from that) to
            "probabilities" (N, c), with "class_names" among its metadata; or an export of the modality that takes a
            head, such as "timm", a folder whose `config.json` has the names as "label_names".
        path: where to.
        embed: samples of a `Source` -> (N, d).

    Raises:
        ValueError: the classifier cannot be written that way, or gives other probabilities there.
    """
    classifier, _ = load_classifier(run.folder)
    formats = (*run.modality.with_head, "onnx")
    if to not in formats:
        raise unknown("to", to, formats)
    head = classifier.head()
    if to != "onnx":
        return tuple(run.modality.exports[to](run.backbone, path, run.recipe, run.facts, head=head))
    known = None if run.recipe.views.startswith(OWN) else run.modality.preparation(run.recipe, run.facts)
    network, name = _Classifying(run.backbone, head).eval(), f"{run.modality.noun}s"
    words = {"class_names": list(head.class_names)}
    if known is not None and known.module is not None:
        export_prepared_onnx(
            network,
            known,
            lambda samples: classifier.probabilities(embed(samples)).float(),
            path,
            input_name=name,
            metadata=words,
            output_name=OUTPUT,
        )
        return ()
    about = {**({} if known is None else known.metadata), **words}
    example = run.modality.example(run.recipe, run.facts)
    export_onnx(network, example, path, input_name=name, metadata=about, output_name=OUTPUT)
    return ()
