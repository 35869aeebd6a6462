"""Self-supervised pretraining with Barlow Twins and its kin, and the reasons why a run works or fails.

The public names, handed out on first use (PEP 562): `import barlow` loads neither torch nor anything else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from barlow import theory as theory
    from barlow.applications.continual.keep import EWC as EWC, Distill as Distill, Replay as Replay
    from barlow.applications.continual.sequence import (
        SequenceRun as SequenceRun,
        pretrain_sequence as pretrain_sequence,
    )
    from barlow.applications.segmentation.losses import segmentation_loss as segmentation_loss
    from barlow.applications.segmentation.model import SegmentationModel as SegmentationModel
    from barlow.applications.segmentation.segment import Segmented as Segmented, segment as segment
    from barlow.applications.segmentation.settings import SegmentSettings as SegmentSettings
    from barlow.applications.speakers.verify import verify_speakers as verify_speakers
    from barlow.audio.data.load import load_clips as load_clips
    from barlow.audits.audit import (
        Audit as Audit,
        audit as audit,
        compare_audits as compare_audits,
        open_audit as open_audit,
    )
    from barlow.audits.settings import AuditSettings as AuditSettings
    from barlow.data.arrays import ArraySource as ArraySource
    from barlow.data.item_views import views_of_items as views_of_items
    from barlow.data.stored.write_shards import write_shards as write_shards
    from barlow.evaluation.verification import equal_error_rate as equal_error_rate, min_dcf as min_dcf
    from barlow.graphs.data.load import load_graph as load_graph
    from barlow.graphs.networks.network import GraphNetwork as GraphNetwork
    from barlow.graphs.views.masking import GraphView as GraphView
    from barlow.images.data.load import load_source as load_source
    from barlow.images.data.shapes import ShapesSource as ShapesSource, shape_views as shape_views
    from barlow.images.networks.foreign import load_foreign as load_foreign
    from barlow.images.views.located import LocatedPipeline as LocatedPipeline
    from barlow.images.views.published import image_views as image_views
    from barlow.methods.barlow_twins import barlow_twins_loss as barlow_twins_loss
    from barlow.methods.byol import byol_loss as byol_loss
    from barlow.methods.cca_ssg import cca_ssg_loss as cca_ssg_loss
    from barlow.methods.heads import HeadSpec as HeadSpec
    from barlow.methods.losses import (
        BarlowTwinsLoss as BarlowTwinsLoss,
        BYOLLoss as BYOLLoss,
        CCASSGLoss as CCASSGLoss,
        OptimalProjectorLoss as OptimalProjectorLoss,
        SIGRegLoss as SIGRegLoss,
        SimCLRLoss as SimCLRLoss,
        SimSiamLoss as SimSiamLoss,
        SwAVLoss as SwAVLoss,
        VICRegLLoss as VICRegLLoss,
        VICRegLoss as VICRegLoss,
        WMSELoss as WMSELoss,
    )
    from barlow.methods.optimal_projector import optimal_projector_loss as optimal_projector_loss
    from barlow.methods.sigreg import sigreg_loss as sigreg_loss
    from barlow.methods.simclr import simclr_loss as simclr_loss
    from barlow.methods.simsiam import simsiam_loss as simsiam_loss
    from barlow.methods.swav import swav_loss as swav_loss
    from barlow.methods.vicreg import vicreg_loss as vicreg_loss
    from barlow.methods.vicregl import vicregl_loss as vicregl_loss
    from barlow.methods.wmse import wmse_loss as wmse_loss
    from barlow.recipes import RECIPES as RECIPES, Recipe as Recipe
    from barlow.runs.classifier import predict as predict
    from barlow.runs.compare import compare_recipes as compare_recipes
    from barlow.runs.embeddings import Embeddings as Embeddings, read_embeddings as read_embeddings
    from barlow.runs.export import export_onnx as export_onnx
    from barlow.runs.pretrain import pretrain as pretrain, resume as resume
    from barlow.runs.run import Run as Run, open_run as open_run
    from barlow.seams import (
        Around as Around,
        Batch as Batch,
        Method as Method,
        Modality as Modality,
        Params as Params,
        Preparation as Preparation,
        Source as Source,
        Terms as Terms,
        View as View,
        Views as Views,
    )
    from barlow.statistics.collectives import (
        MeanOver as MeanOver,
        all_mean as all_mean,
        gather_with_grad as gather_with_grad,
        identity as identity,
    )
    from barlow.theory.floors import (
        batch_floor as batch_floor,
        pearson_floor as pearson_floor,
        raw_floor as raw_floor,
        welch_bound as welch_bound,
    )
    from barlow.theory.moments import Moments as Moments
    from barlow.theory.projectors import (
        pearson_projector as pearson_projector,
        raw_projector as raw_projector,
        whitened_projector as whitened_projector,
    )
    from barlow.theory.standard_errors import jackknife as jackknife
    from barlow.theory.water_filling import water_filling as water_filling
    from barlow.training.machine import Machine as Machine

__version__ = "0.1.0"

_HOME = {
    "EWC": "applications.continual.keep",
    "Distill": "applications.continual.keep",
    "Replay": "applications.continual.keep",
    "SequenceRun": "applications.continual.sequence",
    "pretrain_sequence": "applications.continual.sequence",
    "MeanOver": "statistics.collectives",
    "all_mean": "statistics.collectives",
    "gather_with_grad": "statistics.collectives",
    "identity": "statistics.collectives",
    "compare_recipes": "runs.compare",
    "ArraySource": "data.arrays",
    "views_of_items": "data.item_views",
    "Embeddings": "runs.embeddings",
    "read_embeddings": "runs.embeddings",
    "predict": "runs.classifier",
    "ShapesSource": "images.data.shapes",
    "shape_views": "images.data.shapes",
    "load_clips": "audio.data.load",
    "verify_speakers": "applications.speakers.verify",
    "equal_error_rate": "evaluation.verification",
    "min_dcf": "evaluation.verification",
    "load_foreign": "images.networks.foreign",
    "Around": "seams",
    "Batch": "seams",
    "Source": "seams",
    "load_source": "images.data.load",
    "load_graph": "graphs.data.load",
    "GraphNetwork": "graphs.networks.network",
    "GraphView": "graphs.views.masking",
    "Machine": "training.machine",
    "barlow_twins_loss": "methods.barlow_twins",
    "byol_loss": "methods.byol",
    "cca_ssg_loss": "methods.cca_ssg",
    "optimal_projector_loss": "methods.optimal_projector",
    "sigreg_loss": "methods.sigreg",
    "simclr_loss": "methods.simclr",
    "simsiam_loss": "methods.simsiam",
    "swav_loss": "methods.swav",
    "vicreg_loss": "methods.vicreg",
    "vicregl_loss": "methods.vicregl",
    "wmse_loss": "methods.wmse",
    "write_shards": "data.stored.write_shards",
    "HeadSpec": "methods.heads",
    "BYOLLoss": "methods.losses",
    "BarlowTwinsLoss": "methods.losses",
    "CCASSGLoss": "methods.losses",
    "OptimalProjectorLoss": "methods.losses",
    "SIGRegLoss": "methods.losses",
    "SimCLRLoss": "methods.losses",
    "SimSiamLoss": "methods.losses",
    "SwAVLoss": "methods.losses",
    "VICRegLLoss": "methods.losses",
    "VICRegLoss": "methods.losses",
    "WMSELoss": "methods.losses",
    "Method": "seams",
    "Terms": "seams",
    "pretrain": "runs.pretrain",
    "resume": "runs.pretrain",
    "RECIPES": "recipes",
    "Recipe": "recipes",
    "Run": "runs.run",
    "open_run": "runs.run",
    "export_onnx": "runs.export",
    "Audit": "audits.audit",
    "audit": "audits.audit",
    "open_audit": "audits.audit",
    "compare_audits": "audits.audit",
    "AuditSettings": "audits.settings",
    "batch_floor": "theory.floors",
    "pearson_floor": "theory.floors",
    "welch_bound": "theory.floors",
    "Moments": "theory.moments",
    "jackknife": "theory.standard_errors",
    "pearson_projector": "theory.projectors",
    "raw_projector": "theory.projectors",
    "whitened_projector": "theory.projectors",
    "water_filling": "theory.water_filling",
    "raw_floor": "theory.floors",
    "LocatedPipeline": "images.views.located",
    "image_views": "images.views.published",
    "SegmentSettings": "applications.segmentation.settings",
    "SegmentationModel": "applications.segmentation.model",
    "Segmented": "applications.segmentation.segment",
    "segment": "applications.segmentation.segment",
    "segmentation_loss": "applications.segmentation.losses",
    "Modality": "seams",
    "Preparation": "seams",
    "Params": "seams",
    "View": "seams",
    "Views": "seams",
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
