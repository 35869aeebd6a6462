"""The names of the theory that users type, as `barlow.theory.batch_floor(256, 8192, redundancy_weight=0.0051)`.

`alignment` and `water_filling` have the names of their files: `from barlow.theory.alignment import alignment`. An image
stands for any sample, and its augmentation for whatever its views differ in.
"""

from barlow.theory.cross_correlation import (
    complete_cross_correlation as complete_cross_correlation,
    sampled_cross_correlation as sampled_cross_correlation,
    two_pipeline_cross_correlation as two_pipeline_cross_correlation,
)
from barlow.theory.effects import (
    direction_effects as direction_effects,
    first_order_effect as first_order_effect,
    marginal_effect as marginal_effect,
    total_effect as total_effect,
)
from barlow.theory.floors import (
    batch_floor as batch_floor,
    pearson_floor as pearson_floor,
    raw_floor as raw_floor,
    welch_bound as welch_bound,
)
from barlow.theory.intraclass import (
    cross_fit_correlations as cross_fit_correlations,
    intraclass_correlations as intraclass_correlations,
    lidar as lidar,
    num_above_edge as num_above_edge,
    view_information as view_information,
    wachter_edge as wachter_edge,
)
from barlow.theory.invariance import (
    augmentation_share as augmentation_share,
    invariance_share as invariance_share,
    variance_components as variance_components,
)
from barlow.theory.moments import Covariances as Covariances, Moments as Moments
from barlow.theory.projectors import (
    LinearProjector as LinearProjector,
    pearson_projector as pearson_projector,
    raw_projector as raw_projector,
    whitened_projector as whitened_projector,
)
from barlow.theory.spectrum import (
    alpha_req as alpha_req,
    condition_number as condition_number,
    covariance_eigenvalues as covariance_eigenvalues,
    effective_rank as effective_rank,
    numerical_rank as numerical_rank,
    participation_ratio as participation_ratio,
    rank_me as rank_me,
)
from barlow.theory.standard_errors import jackknife as jackknife
from barlow.theory.symmetry import (
    asymmetry as asymmetry,
    expected_asymmetry as expected_asymmetry,
    skew_share as skew_share,
)
