"""What the figures say about the samples and views that they were taken from: whether they are what errors assume.

Each function puts one question; see `table.Check`.
"""

from barlow.figures import Figures, Level, Measured, Verdict, needed
from barlow.formats import number

SAME_VIEWS = 1e-10
"""Augmentation shares of float32 features that differ by rounding alone are below this."""
INDEX_SHOWS, INDEX_IS_MOST = 0.02, 0.5
"""A fiftieth of what views differ in is seen in no figure; from half on, most of it is the index."""
SCALE_SHOWS = 1.1
"""Standard deviations a tenth apart change a correlation by less than half a percent."""
COPIES_MATTER = 0.01
"""Below a hundredth, errors are too small by less than a percent."""


def identical_views(figures: Figures) -> Verdict | None:
    """Whether all views of a sample have the same features."""
    share = needed(figures.quantities.augmentation_share)
    if share.value > SAME_VIEWS:
        return None
    said = f"All views of a sample have the same features (augmentation is {share.as_percent()} of the variance): "
    said += "nothing was augmented, or what was changed does not reach the network. Everything here that compares "
    said += "sample and augmentation is empty."
    advice = "Look at the views first: check that the pipeline draws anew for every view, and that features were saved "
    advice += "once for each view."
    return Verdict.of("identical_views", "warning", share, said, advice)


def view_index(figures: Figures) -> Verdict | None:
    """Whether features tell which view of a sample they are of, by their mean."""
    share = needed(figures.quantities.view_index_share)
    if not share.above(INDEX_SHOWS):
        return None
    most = share.above(INDEX_IS_MOST)
    said = f"{share.as_percent()} of what views of a sample differ in is which view it is, the first or another"
    said += ": the features are mostly the index of the view." if most else ": the views have different means."
    advice = "Views of a sample should be draws of one pipeline: check that each is normalised alike and computed by "
    advice += "the same network; or subtract the mean of each view before anything else."
    return Verdict.of("view_index", "warning", share, said, advice)


def view_scale(figures: Figures) -> Verdict | None:
    """Whether the features of one view are larger than those of another."""
    ratio = needed(figures.quantities.view_scale)
    if not ratio.above(SCALE_SHOWS):
        return None
    said = f"The features of one view vary {ratio.as_number()} times as much as those of another: views have "
    said += "different scales. The loss of pairs divides by each view's own and does not see it; B and W do."
    advice = "Check that all views are normalised alike; if pipelines are meant to differ, audit each by itself."
    return Verdict.of("view_scale", "warning", ratio, said, advice)


def duplicates(figures: Figures) -> Verdict | None:
    """Whether samples are there more than once."""
    share = needed(figures.quantities.duplicates)
    if share.value <= 0:
        return None
    factor = figures.quantities.error_factor or Measured(1.0)
    said = (
        f"{number(100 * share.value)}% of the samples are copies of others, by their features: every error here is too "
    )
    said += f"small, by a factor of about {number(factor.value)}, and so are the ranges."
    advice = "Remove copies before pretraining and auditing (`barlow duplicates` finds them)."
    level: Level = "warning" if share.value >= COPIES_MATTER else "note"
    return Verdict.of("duplicates", level, share, said, advice)
