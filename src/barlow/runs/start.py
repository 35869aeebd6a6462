"""A run that starts from another one: its weights with their heads, its numbers, and the statistics of its data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from barlow.recipes import Recipe
from barlow.runs.embed import digest_of_weights
from barlow.runs.folder import RunFolder
from barlow.runs.own_data import place_facts
from barlow.seams import Modality, inside
from barlow.training.checkpoint import load_checkpoint, shape_differences

KEY, DIGEST = "start_from", "start_weights"
"""Facts in `recipe.json`: where the other run was, and a name that only its weights have."""
MOST_NAMED = 3
"""Weights that do not fit which an error names."""


@dataclass(frozen=True)
class Start:
    """Where a run starts.

    Attributes:
        recipe: of the run that it starts from; a run without a recipe of its own goes by it.
        facts: of the data of that run.
        place: folder of that run.
        digest: a name that only its weights have.
        weights: of backbone and heads; empty for a run that has begun, whose checkpoint has its own.
    """

    recipe: Recipe
    facts: Mapping[str, Any]
    place: Path
    digest: str
    weights: Mapping[str, Tensor] = field(default_factory=dict)

    def fixed(self, modality: Modality) -> dict[str, Any]:
        """Return the statistics that network input stays normalised by: those of the data of the other run."""
        return {name: self.facts[name] for name in modality.statistics if name in self.facts}

    def shape(self, modality: Modality) -> dict[str, Any]:
        """Return what new data have to agree with, without how others were read: that is told from the new ones."""
        return {name: fact for name, fact in self.facts.items() if name not in modality.reading}

    def recorded(self, modality: Modality, folder: Path) -> dict[str, str]:
        """Return what the `recipe.json` in a folder says of the start."""
        return place_facts(modality, self.place, folder, KEY) | {DIGEST: self.digest}

    def fill(self, method: nn.Module) -> None:
        """Put the weights into a method; ValueError where it is another network."""
        if not self.weights:
            return
        own = inside(method)
        if found := shape_differences(own, self.weights):
            more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
            raise ValueError(
                f"start_from: {str(self.place)!r} holds another network: {'; '.join(found[:MOST_NAMED])}{more}; "
                "wanted the same backbone, width, projector and method, which it has where no recipe is named"
            )
        own.load_state_dict(dict(self.weights))


def start_of(folder: str | Path | None, out: str | Path | None) -> Start | None:
    """Open the run that a new one starts from; of one that has begun in `out`, only what it was started with.

    The folder may be gone by then. ValueError: no such run, or one that has not finished.
    """
    if folder is None:
        return None
    where, own = RunFolder(Path(folder)), None if out is None else RunFolder(Path(out))
    if own is not None and (own.path / "recipe.json").exists() and own.begun() and not where.path.exists():
        facts = own.data()
        return Start(own.recipe(), facts, where.path, str(facts.get(DIGEST, "")))
    if not (where.path / "recipe.json").is_file():
        raise ValueError(f"start_from: got {str(folder)!r}, wanted the folder of a run")
    where.require_own_files()
    if not where.finished():
        raise ValueError(f"start_from: the run in {str(folder)!r} has not finished; the command that began it goes on")
    weights = load_checkpoint(where.checkpoints / "last.ckpt")["method"]
    return Start(where.recipe(), where.data(), where.path, digest_of_weights(weights), weights)
