"""Self-supervised pretraining with Barlow Twins and its kin, and the reasons why a run works or fails.

The public names, handed out on first use (PEP 562): `import barlow` loads neither torch nor anything else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from barlow.collectives import all_mean as all_mean
    from barlow.compare import compare_recipes as compare_recipes
    from barlow.data.arrays import ArraySource as ArraySource
    from barlow.data.source import Batch as Batch, Source as Source
    from barlow.data.sources import load_source as load_source
    from barlow.machine import Machine as Machine
    from barlow.methods.barlow_twins import barlow_twins_loss as barlow_twins_loss
    from barlow.methods.byol import byol_loss as byol_loss
    from barlow.methods.optimal_projector import optimal_projector_loss as optimal_projector_loss
    from barlow.methods.sigreg import sigreg_loss as sigreg_loss
    from barlow.methods.simclr import simclr_loss as simclr_loss
    from barlow.methods.simsiam import simsiam_loss as simsiam_loss
    from barlow.methods.swav import swav_loss as swav_loss
    from barlow.methods.terms import Terms as Terms
    from barlow.methods.vicreg import vicreg_loss as vicreg_loss
    from barlow.methods.vicregl import vicregl_loss as vicregl_loss
    from barlow.methods.wmse import wmse_loss as wmse_loss
    from barlow.pretraining import pretrain as pretrain, resume as resume
    from barlow.recipes import RECIPES as RECIPES, Recipe as Recipe
    from barlow.run import Run as Run, open_run as open_run
    from barlow.theory.floors import batch_floor as batch_floor, raw_floor as raw_floor
    from barlow.views.images import image_views as image_views
    from barlow.views.views import Params as Params, View as View, Views as Views

__version__ = "0.1.0"

_HOME = {
    "all_mean": "collectives",
    "compare_recipes": "compare",
    "ArraySource": "data.arrays",
    "Batch": "data.source",
    "Source": "data.source",
    "load_source": "data.sources",
    "Machine": "machine",
    "barlow_twins_loss": "methods.barlow_twins",
    "byol_loss": "methods.byol",
    "optimal_projector_loss": "methods.optimal_projector",
    "sigreg_loss": "methods.sigreg",
    "simclr_loss": "methods.simclr",
    "simsiam_loss": "methods.simsiam",
    "swav_loss": "methods.swav",
    "vicreg_loss": "methods.vicreg",
    "vicregl_loss": "methods.vicregl",
    "wmse_loss": "methods.wmse",
    "Terms": "methods.terms",
    "pretrain": "pretraining",
    "resume": "pretraining",
    "RECIPES": "recipes",
    "Recipe": "recipes",
    "Run": "run",
    "open_run": "run",
    "batch_floor": "theory.floors",
    "raw_floor": "theory.floors",
    "image_views": "views.images",
    "Params": "views.views",
    "View": "views.views",
    "Views": "views.views",
}
"""Where each public name lives."""

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'barlow' has no attribute {name!r}; public names: {', '.join(__all__)}")
    return getattr(import_module(f"barlow.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
