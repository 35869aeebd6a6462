"""Self-supervised pretraining with Barlow Twins and its kin, and the reasons why a run works or fails.

The public names, handed out on first use (PEP 562): `import barlow` loads neither torch nor anything else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from barlow import theory as theory
    from barlow.auditing.audit import Audit as Audit, audit as audit, open_audit as open_audit
    from barlow.auditing.several import compare_audits as compare_audits
    from barlow.collectives import all_mean as all_mean
    from barlow.compare import compare_recipes as compare_recipes
    from barlow.data.arrays import ArraySource as ArraySource
    from barlow.data.shapes import ShapesSource as ShapesSource, shape_views as shape_views
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
    from barlow.networks.foreign import load_foreign as load_foreign
    from barlow.pretraining import pretrain as pretrain, resume as resume
    from barlow.recipes import RECIPES as RECIPES, Recipe as Recipe
    from barlow.run import Run as Run, open_run as open_run
    from barlow.theory.floors import (
        batch_floor as batch_floor,
        pearson_floor as pearson_floor,
        raw_floor as raw_floor,
        welch_bound as welch_bound,
    )
    from barlow.theory.moments import Moments as Moments, jackknife as jackknife
    from barlow.theory.projectors import (
        pearson_projector as pearson_projector,
        raw_projector as raw_projector,
        whitened_projector as whitened_projector,
    )
    from barlow.theory.water_filling import water_filling as water_filling
    from barlow.views.images import image_views as image_views
    from barlow.views.views import Params as Params, View as View, Views as Views

__version__ = "0.1.0"

_HOME = {
    "all_mean": "collectives",
    "compare_recipes": "compare",
    "ArraySource": "data.arrays",
    "ShapesSource": "data.shapes",
    "shape_views": "data.shapes",
    "load_foreign": "networks.foreign",
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
    "Audit": "auditing.audit",
    "audit": "auditing.audit",
    "open_audit": "auditing.audit",
    "compare_audits": "auditing.several",
    "batch_floor": "theory.floors",
    "pearson_floor": "theory.floors",
    "welch_bound": "theory.floors",
    "Moments": "theory.moments",
    "jackknife": "theory.moments",
    "pearson_projector": "theory.projectors",
    "raw_projector": "theory.projectors",
    "whitened_projector": "theory.projectors",
    "water_filling": "theory.water_filling",
    "raw_floor": "theory.floors",
    "image_views": "views.images",
    "Params": "views.views",
    "View": "views.views",
    "Views": "views.views",
}
"""Where each public name lives."""

__all__ = ["__version__", "theory", *_HOME]


def __getattr__(name: str) -> Any:
    if name == "theory":
        return import_module("barlow.theory")
    if name not in _HOME:
        raise AttributeError(f"module 'barlow' has no attribute {name!r}; public names: {', '.join(__all__)}")
    return getattr(import_module(f"barlow.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
