"""What the label-free quantities of an audit are called, what each measures and what it does not tell."""

from collections.abc import Mapping
from dataclasses import dataclass

from barlow.report.audit_words import Figures, measured, plain
from barlow.report.run_folder import Record, finite, mapping


@dataclass(frozen=True)
class Meaning:
    """A quantity in words: its title, what it measures, what it does not tell, and whether it is a share."""

    title: str
    what: str
    caution: str
    share: bool = False


SHARE_NAMES = ("projector_share",)
SHARE_GROUPS = ("augmentation", "layer")
"""Rows of a comparison that are shares, by the beginning of their names and by their groups."""
QUANTITIES: Mapping[str, Meaning] = {
    "augmentation_share": Meaning(
        "Augmentation share of the features",
        "Share of the variance of the backbone's features that comes from the augmentation, not from the image.",
        "Lower is not always better: a network that sees next to nothing has a low share as well.",
        share=True,
    ),
    "augmentation_share_z": Meaning(
        "Augmentation share of the projector output",
        "The same share behind the projector, where the loss is computed.",
        "The loss pushes it down by itself; it says little about the backbone, which is what is used afterwards.",
        share=True,
    ),
    "mean_correlation": Meaning(
        "Mean intraclass correlation",
        "The invariance spectrum averaged over all directions: 1, every direction knows only the image.",
        "Faint directions count as much as strong ones, so many useless ones pull it down.",
    ),
    "view_information": Meaning(
        "Information between views, nats",
        "What one view of an image tells about another view of it, for features that are about Gaussian.",
        "Too large with few images, and it does not ask whether the information is of use.",
    ),
    "rank": Meaning(
        "Rank",
        "Number of directions in which the features vary at all.",
        "It counts directions however faint; noise alone makes it as large as it can be.",
    ),
    "condition_number": Meaning(
        "Condition number",
        "Variance of the strongest direction over that of the weakest: the larger, the slower a projector learns.",
        "A matter of training speed, not of what the features know.",
    ),
    "effective_rank": Meaning(
        "Effective rank",
        "Number of equally strong directions that would spread the variance as evenly.",
        "An untrained network can have more than a good one.",
    ),
    "participation_ratio": Meaning(
        "Participation ratio",
        "Another such count, which gives faint directions less weight.",
        "As the effective rank; it is mostly a count of the few strongest.",
    ),
    "rank_me": Meaning(
        "RankMe",
        "Such a count again, from uncentred features: the mean is one more direction.",
        "Its authors use it between runs of one method only; random networks can score high.",
    ),
    "lidar": Meaning(
        "LiDAR",
        "Number of directions in which images differ clearly beside their augmentations.",
        "A few very invariant directions make it small however good the others are.",
    ),
    "alpha": Meaning(
        "Decay exponent (alpha-ReQ)",
        "How fast the variances of the directions fall, as a power of their rank; near 1 is said to be good.",
        "The ranks it is fitted to move it more than most trainings do; no power law may fit at all.",
    ),
    "alpha_r_squared": Meaning(
        "Fit of the power law, R²",
        "Share of the decay that the power law explains.",
        "Clearly below 1, the exponent above means nothing.",
    ),
    "alignment": Meaning(
        "Alignment",
        "Mean squared distance of two views of an image, features scaled to length 1; 0 is perfect.",
        "A constant network is perfect; read it with the uniformity.",
    ),
    "uniformity": Meaning(
        "Uniformity",
        "How evenly features of length 1 cover the sphere; the more negative, the more evenly.",
        "Noise covers it best; read it with the alignment.",
    ),
    "asymmetry": Meaning(
        "Asymmetry of C",
        "How far the cross-correlation of the two views is from being symmetric.",
        "With few images it is large by chance: compare it with the next line.",
        share=True,
    ),
    "asymmetry_expected": Meaning(
        "Asymmetry expected by chance",
        "What so many images show when both views come from one pipeline.",
        "A yardstick, not a property of the network.",
        share=True,
    ),
    "asymmetry_z": Meaning(
        "Asymmetry beyond chance",
        "The difference of the two in standard deviations; above about 3 the pipelines of the views differ.",
        "It grows with the number of images, also for a difference too small to matter.",
    ),
    "skew_share": Meaning(
        "Skew share",
        "Part of C that different pipelines make asymmetric.",
        "Not a fault: many recipes want different pipelines. It limits which closed forms hold.",
        share=True,
    ),
    "null_edge": Meaning(
        "Null edge",
        "Highest intraclass correlation that so few images show when the features know nothing of the image.",
        "Set by the numbers of images, views and features alone.",
    ),
    "num_above_edge": Meaning(
        "Directions above the null edge",
        "Directions that are proven to know something of the image.",
        "More images prove more directions, in the same network.",
    ),
}
"""In the order of the page."""


def quantity_title(name: str) -> str:
    """Return what a quantity is called."""
    return QUANTITIES[name].title if name in QUANTITIES else plain(name)


def is_share(name: str) -> bool:
    """Return whether a quantity is written in percent; parts of a longer name such as "layer z" do not count."""
    return name in QUANTITIES and QUANTITIES[name].share


def quantities(figures: Figures) -> list[tuple[str, float, float | None]]:
    """Return (name, value, error) of the quantities that were measured, known ones first."""
    given = mapping(figures.get("quantities"))
    names = [name for name in QUANTITIES if name in given] + [name for name in given if name not in QUANTITIES]
    found = [(name, finite(mapping(given[name]).get("value")), mapping(given[name]).get("error")) for name in names]
    return [(str(name), value, finite(error)) for name, value, error in found if value is not None]


def change_cells(row: Record) -> list[str]:
    """Return one row of a comparison as people read it: title, a, b, difference with error, beyond chance."""
    name = str(row.get("name", ""))
    share = is_share(name) or name.startswith(SHARE_NAMES) or row.get("group") in SHARE_GROUPS
    cells = [plain(row["title"]) if row.get("title") else quantity_title(name)]
    for key in ("a", "b"):
        value = finite(row.get(key))
        cells.append("" if value is None else measured(value, None, share=share))
    difference, error = finite(row.get("difference")), finite(row.get("error"))
    if difference is None:
        cells.append("")
    else:
        shown = (
            measured(100.0 * difference, 100.0 * error if error else error) if share else measured(difference, error)
        )
        cells.append(f"{'+' if difference > 0 else ''}{shown}{' points' if share else ''}")
    if row.get("fair") is False:
        return [*cells, "settings differ"]
    return [*cells, "" if row.get("significant") is None else ("yes" if row["significant"] else "no")]
