"""What can be typed after each command, as dataclasses; the flags of `pretrain` are the fields of Recipe and Machine.

The string under each field is its help. No torch.
"""

import io
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import tyro

from barlow.applications.segmentation.settings import SegmentSettings
from barlow.audits.settings import AuditSettings
from barlow.recipes import ALSO_CALLED, OF_THE_RUN, TYPED_AS_FIELDS, Recipe, flat, recipe_for, with_numbers
from barlow.training.machine import Machine

if TYPE_CHECKING:
    from barlow.runs.run import Run


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
    moved_to: Annotated[str, tyro.conf.arg(name="data")] = ""
    """With --resume: where the data of the run are now, if they moved."""
    start_from: Path | None = None
    """Start from the backbone and heads of this finished run, with its numbers where no --recipe is given."""
    labels: str = "auto"
    """none: leave the labels of DATA out, also from the evaluation; -1 is a sample without one; required: an error
    without any; or a pattern of file names that tells them, such as "{label}_{group}_*"."""
    hold_out: str = ""
    """Groups (speakers, patients) that are not learnt from and are evaluated on: group=george,lucas."""
    data_root: Path | None = None
    """Folder of the data sets that go by a name."""
    download: bool = False
    """Fetch such a data set into --data-root first, where it is not there (needs the network)."""
    white_level: int | float | None = None
    """The pixel value that is white: 1, 255, 4095, 65535; default: told from all values, and kept with the run."""
    channels_axis: str = ""
    """Of arrays of images: first (1) or last (-1); empty: told by their shape."""
    modality: str = ""
    """audio, images, or FILE.py:NAME for a `barlow.Modality` of your own; empty: told by DATA."""
    redundancy_weight: float | None = None
    """Weight lambda of the off-diagonal terms (paper, equation 2); of barlow_twins only."""
    normalization: str | None = None
    """Of barlow_twins only: pearson, feature_cosine, sample_cosine, scalar, covariance, raw or whiten."""
    numbers: Annotated[Recipe, tyro.conf.arg(name="")] = field(default_factory=Recipe)
    machine: Annotated[Machine, tyro.conf.arg(name="")] = field(default_factory=Machine)


def check_resume(flags: Pretrain, made_for: Recipe) -> None:
    """Refuse all but the flags of the machine with --resume: a resumed run keeps its data and its recipe."""
    if flags.resume is None:
        if flags.moved_to:
            raise ValueError(
                f"data: got --data {flags.moved_to} without --resume; wanted barlow pretrain {flags.moved_to}"
            )
        return
    given = asdict(replace(flags, resume=None, moved_to="", modality="", machine=Machine(), numbers=Recipe()))
    changed = {name: value for name, value in given.items() if value != asdict(Pretrain())[name]}
    recipe = flat(asdict(made_for))
    changed |= {name: value for name, value in flat(asdict(flags.numbers)).items() if value != recipe.get(name)}
    if changed:
        words = ", ".join(_as_typed(name, value) for name, value in changed.items())
        raise ValueError(
            f"resume: got {words} too, but a resumed run keeps its data and recipe; wanted the folder alone"
        )


def _as_typed(name: str, value: object) -> str:
    field_name, _, option = name.partition(".")
    if option and option not in TYPED_AS_FIELDS:
        return f"--{field_name.replace('_', '-')} {option} {value}"
    return f"--{(option or name).replace('_', '-')} {value}"


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
    start: str = ""
    """Also each recipe from these weights (default: the library's own; or a file), beside the weights as they are."""
    backbone: str = ""
    """The network of all recipes, such as timm:resnet18; empty: that of each."""
    minutes: float = 0.0
    """Time of pretraining for every run: the rate is measured first, and the steps that fit are trained."""
    images: int = 0
    """Images that every run sees, repeats included; neither this nor minutes: those of the first recipe's epochs."""
    out: Path = Path("runs/compare")
    """Folder of the comparison: a run folder for each arm, compare.json and compare.html."""
    data_root: Path | None = None
    """Folder of the data sets that go by a name."""
    white_level: int | float | None = None
    """The pixel value that is white: 1, 255, 4095, 65535; default: told from all values, and kept with the run."""
    channels_axis: str = ""
    """Of arrays of images: first (1) or last (-1); empty: told by their shape."""
    labels: str = ""
    """As for pretrain, such as a pattern of file names: "{label}_{group}_*"; empty: what DATA carry."""
    hold_out: str = ""
    """Groups (speakers, patients) that are not learnt from and are evaluated on: group=george,lucas."""
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
    moved_to: Annotated[str, tyro.conf.arg(name="data")] = ""
    """Where the data of the run are now, if they moved; others than its own are refused."""
    data_root: Path | None = None
    """Folder of the data sets that go by a name."""
    white_level: int | float | None = None
    """The pixel value that is white: 1, 255, 4095, 65535; default: that of the run."""
    channels_axis: str = ""
    """Of arrays of images: first (1) or last (-1); empty: told by their shape."""
    finetune: tuple[float, ...] | None = None
    """Also fine-tune the whole network on these shares of the labels: 0.01 0.1 1.0."""
    sgd_linear: bool = False
    """Also the papers' protocol: 100 epochs of SGD on a linear layer, last epoch."""
    augmented: bool = False
    """That protocol on crops drawn anew in every epoch, as officially: 100 passes through the network, not one."""
    protocol: Literal["ours", "published"] = "ours"
    """published: linear, and fine-tuning on 1% and 10%, as the source of the run's method does (most: for ImageNet)."""
    seconds: float | None = None
    """About how long the probes may take: where all samples would take longer, a part of each class counts; default: as
    long as all take, of more than 200,000 samples half an hour."""
    accelerator: str = Machine.accelerator
    """auto, cpu, cuda or mps."""
    labels: str = "auto"
    """A pattern of file names that tells labels and groups: "{label}_{group}_*"; auto: what DATA carry."""
    hold_out: str = ""
    """Groups to test on, all others to fit probes on: group=george,lucas; group: each in its turn."""
    verify: bool = False
    """Of sound: verify speakers instead, by the labels: EER and minDCF of all pairs of test clips."""
    trials: Path | None = None
    """A file of "enrol test label" to verify by, names as ends of paths; label 1 or 0."""
    snr: tuple[float, ...] = ()
    """Verify also in noise at these ratios of signal to noise in decibels: 20 10 5 0."""
    noise: str = "babble"
    """white, pink, babble (of other clips of DATA), or a folder of recordings of noise."""
    keep: bool = True
    """Keep the figures in the run folder, on its page too."""
    modality: str = ""
    """FILE.py:NAME, where the run is of a modality of your own."""


@dataclass(frozen=True)
class OfRun:
    """What commands ask for that take the features of a run, on its data or on others."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    data: tyro.conf.Positional[str] = ""
    """Data as for pretrain, one file, or a list.txt of files, one a line; empty: the data of the run."""
    moved_to: Annotated[str, tyro.conf.arg(name="data")] = ""
    """Where the data of the run are now, if they moved; others than its own are refused."""
    data_root: Path | None = None
    """Folder of the data sets that go by a name."""
    out: Path | None = None
    """Where the result goes; default: in the folder features of the run, its page beside it."""
    modality: str = ""
    """FILE.py:NAME, where the run is of a modality of your own."""
    quiet: bool = False
    """No progress on the terminal."""

    def opened(self) -> "Run":
        """Return the run."""
        from barlow.runs.run import open_run

        return open_run(self.run, data=self.moved_to or None, modality=self.modality or None)


@dataclass(frozen=True)
class Embed(OfRun):
    """Write the features of every sample that can be read, to .npz or .parquet (--out); DATA - is a list on stdin."""

    window: float | None = None
    """Of recordings: seconds of the windows to embed, each with its start and end; default: one clip, one row."""
    hop: float | None = None
    """Of recordings: seconds from one window to the next; default: as long as a window."""
    white_level: int | float | None = None
    """The pixel value that is white: 1, 255, 4095, 65535; default: that of the run."""
    channels_axis: str = ""
    """Of arrays of images: first (1) or last (-1); empty: told by their shape."""
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
    """One or two things to audit (run folder, timm:NAME, torchvision:NAME, checkpoint, features.npy), then data;
    a run brings its own."""
    out: Path | None = None
    """Folder of audit.json and audit.html; default: the run folder, or runs/audit-NAME."""
    moved_to: Annotated[str, tyro.conf.arg(name="data")] = ""
    """Where the data of runs are now, if they moved; others than their own are refused."""
    modality: str = ""
    """FILE.py:NAME, where runs or data are of a modality of your own."""
    views: str = ""
    """Augmentation pipelines by name; empty: those of the run, or of the recipe made for the data."""
    settings: Annotated[AuditSettings, tyro.conf.arg(name="")] = field(
        default_factory=lambda: AuditSettings(quiet=False)
    )


@dataclass(frozen=True)
class Segment:
    """Fine-tune the backbone of a run on few masks, beside the same network from scratch and plain bars.

    The same command again goes on where it stopped. With a model that it left in place of RUN, and images in place of
    DATA, it writes their masks.
    """

    run: tyro.conf.Positional[Path]
    """Run folder; or a folder of a model (segmentation/.../model), to make masks of the images in DATA."""
    data: tyro.conf.Positional[Path]
    """Folder of images and masks, paired by name: images/ beside masks/."""
    out: Path | None = None
    """Where to; default: segmentation/<name of the data> in the run folder, or masks-<name> here."""
    table: Path | None = None
    """File of values or colours and their classes: 3,building or #3c1098,building a line, or JSON."""
    jobs: int = 1
    """Processes at once, one thread each; 0: one per core."""
    accelerator: str = Machine.accelerator
    """auto, cpu, cuda or mps."""
    quiet: bool = False
    """No progress on the terminal."""
    settings: Annotated[SegmentSettings, tyro.conf.arg(name="")] = field(default_factory=SegmentSettings)


@dataclass(frozen=True)
class Export:
    """Write the backbone for other programs; of a model of `barlow classify` the classifier, with its classes."""

    run: tyro.conf.Positional[Path]
    """Run folder, or folder of a model."""
    to: Literal["timm", "onnx", "smp", "hear"] = "timm"
    """timm: a folder for timm.create_model("local-dir:..."); onnx: one file; smp: a U-Net for smp.from_pretrained;
    hear: of sound, a module for HEAR 2021."""
    out: Path | None = None
    """Where to; default: inside the run folder."""
    with_preprocessing: bool = False
    """onnx only: the file takes uint8 images (N, H, W, C) of any size, and resizes and normalises them itself."""
    modality: str = ""
    """FILE.py:NAME, where the run is of a modality of your own."""


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
    labels: str = "auto"
    """speakers only: pattern of the names of recordings, such as {group}_{label}_*; auto: class folders."""
    hold_out: str = ""
    """speakers only: groups to test on: group=7,8,9; empty: a fifth of each class."""
    seeds: int = 0
    """Seeds 0, 1, 2, ...; 0: as many as the study wants (three; speakers five), one with --quick."""
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


@dataclass(frozen=True)
class Views:
    """List the augmentation pipelines by name; with DATA, write a page of what each makes of some of its pictures."""

    data: tyro.conf.Positional[str] = ""
    """Data as for pretrain: pictures, or recordings; empty: the list alone."""
    out: Path = Path("views.html")
    """The page."""
    data_root: Path | None = None
    """Folder of the data sets that go by a name."""
    size: int = 0
    """Side of the views in pixels; 0: that of the data, at most 80."""


@dataclass(frozen=True)
class Networks:
    """List the networks by name; with WORD also those of timm and torchvision that have it in their names."""

    word: tyro.conf.Positional[str] = ""
    """A part of a name, such as convnext; empty: those that people begin with."""


@dataclass(frozen=True)
class Completion:
    """Print the script by which a shell completes commands, flags and their words.

    bash: eval "$(barlow completion bash)" in ~/.bashrc; zsh the same in ~/.zshrc; fish: barlow completion fish |
    source.
    """

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]
    """Which shell."""


Flags = TypeVar("Flags")


def parse(flags: type[Flags], arguments: Sequence[str], default: Flags | None = None) -> Flags:
    """Return the flags of one command; prints help and exits by itself.

    Raises:
        ValueError: a mistake in what was typed, in one line.
    """
    if any(word in ("-h", "--help") for word in arguments):
        from barlow.cli.help import print_help

        print_help(flags, MISSING if default is None else default)
        sys.exit(0)
    command, said = flags.__name__.lower(), io.StringIO()
    given: dict[str, Any] = {} if default is None else {"default": default}
    try:
        with redirect_stderr(said):
            found: Flags = tyro.cli(flags, args=list(arguments), prog=f"barlow {command}", **given)
    except SystemExit:
        from barlow.cli.mistakes import mistake
        from barlow.cli.words import flags_of

        raise mistake(command, flags_of(flags, MISSING if default is None else default), said.getvalue()) from None
    sys.stderr.write(said.getvalue())  # warnings
    return at_home(found)


def at_home(flags: Flags) -> Flags:
    """Return flags with the home folder for `~` in all paths, which shells leave in --out=~/run."""
    given: Any = flags
    found = {one.name: getattr(given, one.name) for one in fields(given)}
    paths = {name: value.expanduser() for name, value in found.items() if isinstance(value, Path)}
    several = {
        name: tuple(_expanded(one) for one in value) for name, value in found.items() if isinstance(value, tuple)
    }
    inner = {name: at_home(value) for name, value in found.items() if is_dataclass(value)}
    changed: Flags = replace(given, **paths, **several, **inner)
    return changed


def _expanded(word: Any) -> Any:
    if isinstance(word, Path):
        return word.expanduser()
    return str(Path(word).expanduser()) if isinstance(word, str) and word.startswith("~") else word


def parse_pretrain(arguments: Sequence[str]) -> Pretrain:
    """Return the flags of `pretrain`, its numbers complete: those of the recipe, and what was typed."""
    refuse_names_of_others(arguments)
    flags = parse(Pretrain, [word for word in arguments if word not in ("-h", "--help")])
    typed = {name: value for name in TYPED_AS_FIELDS if (value := getattr(flags, name)) is not None}
    # Once more with the numbers of the recipe as defaults: only what was typed differs from it, and help shows them.
    # But not its options: a dict with defaults would be other flags (--options.temperature) than one without.
    made_for = _made_for(flags)
    shown: dict[str, Any] = {name: made_for.options.get(name) for name in TYPED_AS_FIELDS}
    bare = replace(made_for, options={}, modality_options={})
    flags = parse(Pretrain, arguments, replace(flags, numbers=bare, **shown))
    numbers = with_numbers(made_for, asdict(flags.numbers) | typed)
    flags = replace(flags, numbers=numbers, redundancy_weight=None, normalization=None)
    check_resume(flags, made_for)
    return flags


ONLY_PYTHON = ("test", "num_workers")
"""What `barlow.pretrain` or `load_source` take and no command does."""


def refuse_names_of_others(arguments: Sequence[str]) -> None:
    """Refuse flags by the names that other projects have for them, with ours."""
    for word in arguments:
        name = word.removeprefix("--").partition("=")[0]
        ours = (ALSO_CALLED | OF_THE_RUN).get(name.replace("-", "_"))
        if word.startswith("--") and ours == "data":
            raise ValueError(f"--{name}: is the first word here, without a flag: barlow pretrain photos/")
        if word.startswith("--") and ours and ours not in ONLY_PYTHON:
            raise ValueError(f"--{name}: is called --{ours.replace('_', '-')} here")


def typed_numbers(arguments: Sequence[str], flags: Any, kind: Any = Pretrain) -> dict[str, Any]:
    """Return the fields of the recipe that were typed, and nothing that only stands in the recipe: what is to be kept.

    `flags` are what was made of the same arguments, the flags of a command that takes the fields of a recipe, `kind`.
    """
    words = {word.partition("=")[0].replace("_", "-").replace("--no-", "--") for word in arguments}
    typed = {name: value for name, value in vars(flags.numbers).items() if f"--{name.replace('_', '-')}" in words}
    first: Any = parse(kind, [word for word in arguments if word not in ("-h", "--help")])
    options = first.numbers.options | {
        name: value for name in TYPED_AS_FIELDS if (value := getattr(first, name, None)) is not None
    }
    by_name = {"options": options, "modality_options": first.numbers.modality_options}
    return {name: value for name, value in typed.items() if name not in by_name} | {
        name: value for name, value in by_name.items() if value
    }


def _made_for(flags: Pretrain) -> Recipe:
    """The recipe asked for; torch is loaded only where a modality of one's own is to name it."""
    if not flags.recipe and flags.start_from and (flags.start_from / "recipe.json").is_file():
        from barlow.runs.folder import RunFolder

        return RunFolder(flags.start_from).recipe()
    if not flags.modality and not Path(flags.data).expanduser().exists():
        return recipe_for(flags.recipe or None, flags.data)
    from barlow.modalities import modality_for

    return modality_for(flags.data, modality=flags.modality or None).recipe(flags.recipe or None, flags.data)
