"""What can be typed after each command, as dataclasses; the flags of `pretrain` are the fields of Recipe and Machine.

The string under each field is its help. No torch.
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from barlow.machine import Machine
from barlow.recipes import Recipe


@dataclass(frozen=True)
class Pretrain:
    """Pretrain a backbone without labels. The same command again goes on where it stopped."""

    data: tyro.conf.Positional[str] = "digits"
    """digits, shapes, fashion-mnist, cifar10, ...; a folder of pictures; an .npy or .npz file."""
    recipe: str = ""
    """Start from these numbers (`barlow recipes`); empty: the recipe made for DATA."""
    out: Path | None = None
    """Run folder; default: runs/<name of the data, as its source has it>."""
    resume: Path | None = None
    """Go on with this run: its data and recipe are read from the folder."""
    data_root: Path | None = None
    """Folder of the data sets that go by a name."""
    download: bool = False
    """Fetch such a data set into --data-root first, where it is not there (needs the network)."""
    numbers: Annotated[Recipe, tyro.conf.arg(name="")] = field(default_factory=Recipe)
    machine: Annotated[Machine, tyro.conf.arg(name="")] = field(default_factory=Machine)


def check_resume(flags: Pretrain, made_for: Recipe) -> None:
    """Refuse what a resumed run would leave aside: it keeps its data and its recipe.

    Args:
        flags: as typed.
        made_for: the recipe that they began with.

    Raises:
        ValueError: --resume together with anything else than the flags of the machine; names it.
    """
    if flags.resume is None:
        return
    given = asdict(replace(flags, resume=None, machine=Machine(), numbers=Recipe()))
    changed = {name: value for name, value in given.items() if value != asdict(Pretrain())[name]}
    recipe = asdict(made_for)
    changed |= {name: value for name, value in asdict(flags.numbers).items() if value != recipe[name]}
    if changed:
        words = ", ".join(f"--{name.replace('_', '-')} {value}" for name, value in changed.items())
        raise ValueError(
            f"resume: got {words} too, but a resumed run keeps its data and recipe; wanted the folder alone"
        )


@dataclass(frozen=True)
class Compare:
    """Train several recipes on the same data, with several seeds, and set them side by side.

    The same command again goes on where it stopped, and keeps what is finished.
    """

    data: tyro.conf.Positional[str] = "digits"
    """Data as for pretrain, by name or path."""
    recipes: str = field(kw_only=True)
    """Recipes (`barlow recipes`) or methods, with commas between: barlow_twins,vicreg,simclr."""
    seeds: int = 3
    """Runs of each recipe, with seeds 0, 1, 2, ..."""
    minutes: float = 0.0
    """Time of pretraining for every run: the rate is measured first, and the steps that fit are trained."""
    images: int = 0
    """Images that every run sees, repeats included; neither this nor minutes: those of the first recipe's epochs."""
    out: Path = Path("runs/compare")
    """Folder of the comparison: a run folder for each arm, compare.json and compare.html."""
    data_root: Path | None = None
    """Folder of the data sets that go by a name."""
    accelerator: str = Machine.accelerator
    """auto, cpu, cuda or mps."""
    checkpoint_minutes: float = Machine.checkpoint_minutes
    """Time between checkpoints: the most that a kill can lose."""
    quiet: bool = False
    """No progress on the terminal."""


@dataclass(frozen=True)
class Evaluate:
    """Measure a run's features on labelled data; nothing is tuned on the test part."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    data: tyro.conf.Positional[str] = ""
    """Labelled data; empty: the data of the run."""
    data_root: Path | None = None
    """Folder of the data sets that go by a name."""
    finetune: tuple[float, ...] | None = None
    """Also fine-tune the whole network on these shares of the labels: 0.01 0.1 1.0."""
    sgd_linear: bool = False
    """Also the papers' protocol: 100 epochs of SGD on a linear layer, last epoch."""
    augmented: bool = False
    """That protocol on crops drawn anew in every epoch, as officially: 100 passes through the network, not one."""
    protocol: Literal["ours", "published"] = "ours"
    """published: linear, and fine-tuning on 1% and 10%, as the source of the run's method does (most: for ImageNet)."""
    accelerator: str = Machine.accelerator
    """auto, cpu, cuda or mps."""
    keep: bool = True
    """Keep the figures in the run folder, on its page too."""


@dataclass(frozen=True)
class Embed:
    """Write the features of every sample that can be read."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    data: tyro.conf.Positional[str]
    """Data as for pretrain."""
    out: Path = Path("features.npz")
    """.npz or .parquet."""
    data_root: Path | None = None
    """Folder of the data sets that go by a name."""
    accelerator: str = Machine.accelerator
    """auto, cpu, cuda or mps."""


@dataclass(frozen=True)
class Report:
    """Write the HTML page of a run, or one page that compares the runs in a folder or a list."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders, or a folder of runs."""
    out: Path | None = None
    """The page; default: report.html in the folder of a run, compare.html beside several."""


@dataclass(frozen=True)
class Audit:
    """Say why a backbone is as it is: invariance spectrum, the loss taken apart, augmentations, layers, verdicts.

    barlow audit runs/photos; barlow audit timm:resnet50 photos/; barlow audit checkpoint.pth photos/;
    barlow audit features.npy; and with two of them what changed: barlow audit runs/before runs/after.
    """

    words: tyro.conf.Positional[tuple[str, ...]]
    """One or two things to audit (run folder, timm:NAME, torchvision:NAME, checkpoint, features.npy), then pictures;
    a run brings its own."""
    out: Path | None = None
    """Folder of audit.json and audit.html; default: the run folder, or runs/audit-NAME."""
    views: str = ""
    """Augmentation pipelines by name; empty: those of the run, or of the recipe made for the data."""
    width: int = 0
    """Width D of the embedding for floors and waterline; 0: that of the projector, else of the features."""
    redundancy_weight: float = 0.0
    """Weight lambda for them; 0: that of the run, else the default."""
    normalization: str = ""
    """Normalisation of the loss: pearson, scalar, raw, ...; empty: that of the run or of an official checkpoint."""
    batch_size: int = 0
    """Batch size N of the loss and its floor; 0: that of the run."""
    num_images: int = 0
    """Images to look at; 0: as many as fit into the time, at least 64."""
    num_views: int = 8
    """Views of each."""
    seconds: float = 60.0
    """About how long the main passes may take; a run's untrained network takes as long, effects and layers at most."""
    untrained: bool = False
    """Audit the network of a run as it was before training."""
    mlp: bool = True
    """Fit an MLP to measure the projector's share: up to half a minute."""
    weights: str = "default"
    """Weights of a model by name: default (the library's own), a file, or none."""
    arch: str = ""
    """Network of a checkpoint, by name (vit_small_patch16_224); empty: told from a ResNet's weights."""
    prefix: str = ""
    """Where it stands in the file (teacher.backbone; a dot: at the top); empty: where most of it is found."""
    image_size: int = 0
    """Side of the views in pixels; 0: that of the run, or of the pictures, at most 224."""
    data_root: Path | None = None
    """Folder of the data sets that go by a name."""
    accelerator: str = Machine.accelerator
    """auto, cpu, cuda or mps."""
    seed: int = 0
    """Seed of the views."""
    quiet: bool = False
    """No progress on the terminal."""


@dataclass(frozen=True)
class Export:
    """Write the backbone for other programs."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    to: Literal["timm", "onnx"] = "timm"
    """timm: a folder for timm.create_model("local-dir:..."); onnx: one file."""
    out: Path | None = None
    """Where to; default: inside the run folder."""


@dataclass(frozen=True)
class Study:
    """Put a claim of the paper to the test: tables, plots, and what held. Without NAME: the list of studies.

    The same command again goes on where it stopped, and keeps what is measured.
    """

    name: tyro.conf.Positional[str] = ""
    """Which one; empty: list them."""
    data: str = "digits"
    """Data as for pretrain, by name or path."""
    data_root: Path | None = None
    """Folder of the data sets that go by a name."""
    seeds: int = 0
    """Seeds 0, 1, 2, ...; 0: three of them, one with --quick."""
    out: Path | None = None
    """Folder of the study; default: runs/study-NAME."""
    quick: bool = False
    """A short form: half a minute to two minutes of one core; six to eight minutes for the studies that train."""
    whole: bool = False
    """Every cell of the grid, for studies whose grid is more than an evening's work."""
    jobs: int = 0
    """Processes at once, one thread each; 0: one per core."""
    quiet: bool = False
    """No progress on the terminal."""


@dataclass(frozen=True)
class Recipes:
    """List the recipes with their sources, or show every number of one."""

    name: tyro.conf.Positional[str] = ""
    """A recipe, or a method for its recipe made for --data; empty: list all."""
    data: str = ""
    """Data by name, for a method; empty: a folder of pictures."""
