# mypy: disable-error-code="valid-type, operator, index, assignment, no-untyped-def, return-value"
"""The one log posterior of refined poses: what they are ranked and scored by in fits, searches and tracking.

The question is whether a pose is right to a tenth of the diameter. The answer is a product. That the images
show the object there and not something else is read from the evidence of every modality, as a logistic model
of a few features (`Posterior`). That the pose then lies within the tolerance is what its covariance says
(`probability_within`). Hypotheses about one frame are ranked by the log odds of the first, by how much of the
images they explain and by their log prior about a guess (`SHARPNESS`, `EXPLAINS`).

Hidden samples say nothing, so that a pose half hidden is judged by its other half; one that is mostly hidden
has few samples left, and few samples say little (`smoothed_share`).
"""

import warp as wp

from dr_perception.device.evidence import CONTRADICTED, HIDDEN, INLIERS, ROWS
from dr_perception.estimate.information import about_origin
from dr_perception.estimate.report import PoseReport
from dr_perception.hypothesis.looks_kernels import COLORS, PATTERN, POSSIBLE, SHOWN, Looks
from dr_perception.measure.modalities import DEPTH, OUTLINE

wp.set_module_options({"max_unroll": 1})

SCORE = wp.constant(0)
"""Places in `Figures`: probability that the images show the object at the pose."""
LOG_ODDS = wp.constant(1)
"""Its log odds."""
CERTAINTY = wp.constant(2)
"""Probability that the pose is right if they do, from its covariance."""
VISIBLE = wp.constant(3)
"""Share of measured surface samples that nothing nearer hides."""
DEPTH_SHARE = wp.constant(4)
"""Share of unhidden samples whose depth fits, negative if no depth was measured."""
LINE_SHARE = wp.constant(5)
"""Share of unhidden contour points at which the outline is as expected, negative without colour."""
LOOKS = wp.constant(6)
"""Log likelihood ratio of the pattern, 0 where there is none, see `looks_kernels`."""
SUPPORT = wp.constant(7)
"""Samples that agree, surface and contour."""
SAMPLES = wp.constant(8)
"""Visible surface samples."""
SHIFT_M = wp.constant(9)
"""How far the surface moved from a prediction, where there is one."""
PALETTE = wp.constant(10)
"""Log likelihood ratio of the colours, 0 where there are none, see `palette`."""
POSSIBLE_LOOKS = wp.constant(11)
"""What the log likelihood ratio of the pattern would be if the image showed just that."""
SHOWN_LOOKS = wp.constant(12)
"""Share of that which shows."""
Figures = wp.types.vector(length=13, dtype=wp.float64)
Weights = wp.types.vector(length=6, dtype=wp.float64)

BOTH = (0.4, 0.42, 1.25, 0.15, 2.4, 0.13)
DEPTH_ONLY = (-1.5, 1.0, 0.0, 0.0, 0.0, 0.0)
OUTLINE_ONLY = (0.3, 0.0, 0.9, 0.0, 0.0, 0.0)
"""Offset and weights of the features, by what was measured.

The features are the log odds that depth and that outlines agree, which carry over from sensor to sensor where
shares do not (from 99 to 97 % says as much as from 75 to 50); the pattern's log likelihood ratio, alone in
telling what has the same shape apart; the log odds of depth once more where they are below 0, since what is
seen through is not there, whatever else agrees; and the log likelihood ratio of the colours. Fitted by
logistic regression to right and wrong answers in five sets of frames of real sensors (neither simulated ones
nor IC-BIN), each with the same weight, and rounded; the colours' weight was fitted later, beside the others,
to six real sets: 0.1 to 0.2 whichever is left out but one (0.02 against, 0.24 for a pose without the set of
bare models). How much outlines and depth gain over something else, and their normalised residuals, added
nothing to the probability. `benchmarks/calibrate_posterior.py` collects and fits such answers afresh. The
weights without colour or without depth come from few answers and no sensor was left out of them.
"""
IN_FRAME = -1.9
"""Log prior odds of an answer to a search in a whole frame, beside one with a guess or a mask.

The more places a search compares, the better is the best of those that are wrong. Fitted with the weights.
"""
SHARPNESS = 3.0
"""How many times the log odds of two poses in one frame differ by what those in different frames would.

What is wrong with a model and a sensor is wrong at both: fitted to choose the right one of the poses of a
search in five real sets (conditional logit), weights are 1 to 4.4 times those above. With 1, the prior about
a guess outweighs what the images say of simulated fits.
"""
EXPLAINS = 15.0
"""Weight of the logarithm of what all modalities gain over outliers, among poses of one object in one frame.

Shares of samples that agree do not tell how much of the images a pose explains: a mug with its handle out of
sight agrees everywhere and leaves the handle that is seen unexplained. As a logarithm, since gains are out of
proportion wherever the noise model is. Of 87 searches in masks of six real sets with a right pose, 97.7 %
chose it with weights of 0 to 12, 98.9 % with 15 and 20, and in whole frames all of 43; three simulated
searches for a mug need at least 8.5. With 30, and with gains in place of their logarithm (weight 0.02),
right poses were lost.
"""
EXPLAINS_ELSEWHERE = 4.0
"""The same among poses at different places, whose gains differ as well by how near they are and how hidden.

Of 83 searches in whole frames of six real sets and the simulated scenes, of which 76 refined a right pose, 73
chose it with weights of 3 to 6, 72 with 8 to 15 (a bracket less), 69 with 0 (pitchers, boxes). Weights fitted
by conditional logit, with one set left out, chose no better, with or without more weight for the pattern.
With 5, 14 instead of 15 of 15 simulated brackets are right, and as many real searches as with 4.
"""
COLORS_TELL = 0.5
"""Weight of the colours' log likelihood ratio among poses of one object in one frame, beside its share above.

With both, the conditional logit of refined poses of 148 searches in six real sets has half the loss (10.5
instead of 22.2 nats): boxes that were found upside down show other colours. Fitted to masks the ratio weighs
1.1 in all, to whole frames 0.5, to both 0.9, with one set left out 0.4 to 1.
"""
LEAST_GAIN = 10.0
"""Gain up to which nothing was explained."""
COVERED = (1.3, 1.5)
"""Log odds that the points of a mask lie on the model, below which a mask speaks against a pose, and weight.

Three in four right poses in masks of six real sets reach 1.1; for what is in the mask of another thing it is
-0.2 to 0.8. A mask that agrees says nothing new: it was given as the object's.
"""
OUTLIERS = 0.01
"""Share of samples that disagree for reasons that the noise model does not hold, however right a pose is."""
_OUTLIERS = wp.constant(wp.float64(OUTLIERS))


@wp.struct
class Posterior:
    """Constants of an object.

    center: of the bounding sphere, in the model's frame [m]. spread: second moments of the surface about it
    [m^2]. keep: takes out turns about axes of symmetry. limit_m: displacement that counts as right.
    max_lines: room for contour samples. both, depth_only, outline_only: offset and weights by what was
    measured.
    """

    center: wp.vec3d
    spread: wp.mat33d
    keep: wp.mat33d
    limit_m: wp.float64
    max_lines: int
    both: Weights
    depth_only: Weights
    outline_only: Weights


@wp.func
def probability_within(posterior: Posterior, R: wp.mat33d, covariance: wp.spatial_matrixd) -> wp.float64:
    """Probability that the surface is displaced by less than the limit, were its displacement Gaussian.

    ``covariance`` is about the centre. A turn about an axis of continuous symmetry displaces nothing that can
    be told apart and does not count.
    """
    turning = wp.mat33d()
    for i in range(3):
        for j in range(3):
            turning[i, j] = covariance[3 + i, 3 + j]
    turning = posterior.keep * (wp.transpose(R) * turning * R) * wp.transpose(posterior.keep)
    squared = covariance[0, 0] + covariance[1, 1] + covariance[2, 2]
    squared += wp.ddot(turning, posterior.spread)
    sigma = wp.sqrt(wp.max(squared, wp.float64(1.0e-18)))
    return wp.erf(posterior.limit_m / (wp.sqrt(wp.float64(2.0)) * sigma))


@wp.func
def smoothed_share(agreeing: wp.float64, disagreeing: wp.float64) -> wp.float64:
    """Share that agrees, with one sample for and one against, and some outliers, added.

    So few samples say little, and many do not say more than the noise model is good for.
    """
    extra = wp.float64(1.0) + _OUTLIERS * (agreeing + disagreeing)
    return (agreeing + extra) / (agreeing + disagreeing + wp.float64(2.0) * extra)


@wp.func
def log_odds(share: wp.float64) -> wp.float64:
    """Logarithm of the odds that a share stands for; 0 where nothing was measured (negative shares)."""
    return wp.where(share < wp.float64(0.0), wp.float64(0.0), wp.log(share / (wp.float64(1.0) - share)))


@wp.func
def figures_of(
    posterior: Posterior,
    evidence: wp.array3d[float],
    counts: wp.array2d[int],
    looks: wp.array[Looks],
    problem: int,
    has_color: int,
) -> Figures:
    """What evidence (P, M, `NUM_SUMS`) and looks (P,) say of a problem, and the log odds that follow."""
    f = Figures()
    rows = wp.float64(evidence[problem, DEPTH, ROWS])
    inliers = wp.float64(evidence[problem, DEPTH, INLIERS])
    line_inliers = wp.float64(evidence[problem, OUTLINE, INLIERS])
    one = wp.float64(1.0)
    f[VISIBLE] = one
    f[DEPTH_SHARE] = -one
    f[LINE_SHARE] = -one
    if rows > wp.float64(0.0):
        f[VISIBLE] = one - wp.float64(evidence[problem, DEPTH, HIDDEN]) / rows
        f[DEPTH_SHARE] = smoothed_share(inliers, wp.float64(evidence[problem, DEPTH, CONTRADICTED]))
    if has_color != 0:
        lines = wp.float64(wp.min(counts[1, problem], posterior.max_lines))
        unhidden = wp.max(lines - wp.float64(evidence[problem, OUTLINE, HIDDEN]), wp.float64(0.0))
        f[LINE_SHARE] = smoothed_share(line_inliers, wp.max(unhidden - line_inliers, wp.float64(0.0)))
    f[LOOKS] = wp.float64(looks[problem][PATTERN])
    f[PALETTE] = wp.float64(looks[problem][COLORS])
    f[POSSIBLE_LOOKS] = wp.float64(looks[problem][POSSIBLE])
    f[SHOWN_LOOKS] = wp.float64(looks[problem][SHOWN])
    f[SUPPORT] = inliers + line_inliers
    f[SAMPLES] = wp.float64(counts[0, problem])
    weights = posterior.both
    if has_color == 0:
        weights = posterior.depth_only
    elif f[DEPTH_SHARE] < wp.float64(0.0):
        weights = posterior.outline_only
    f[LOG_ODDS] = weights[0] + weights[1] * log_odds(f[DEPTH_SHARE]) + weights[2] * log_odds(f[LINE_SHARE])
    f[LOG_ODDS] += weights[3] * f[LOOKS]
    f[LOG_ODDS] += weights[4] * wp.min(log_odds(f[DEPTH_SHARE]), wp.float64(0.0)) + weights[5] * f[PALETTE]
    if f[DEPTH_SHARE] < wp.float64(0.0) and has_color == 0:
        f[LOG_ODDS] = wp.float64(-30.0)  # nothing was measured: no probability to speak of
    f[SCORE] = one / (one + wp.exp(-f[LOG_ODDS]))
    return f


@wp.kernel(enable_backward=False)
def judge_refined(
    posterior: Posterior,
    has_color: wp.array[int],
    reports: wp.array[PoseReport],
    evidence: wp.array3d[float],
    counts: wp.array2d[int],
    looks: wp.array[Looks],
    # output
    figures: wp.array[Figures],
):
    """Judge every refined pose by its evidence (P, M, `NUM_SUMS`) and its covariance."""
    problem = wp.tid()
    f = figures_of(posterior, evidence, counts, looks, problem, has_color[0])
    R = wp.mat33d()
    T = reports[problem].T
    for i in range(3):
        for j in range(3):
            R[i, j] = T[i, j]
    covariance = about_origin(R * posterior.center, reports[problem].covariance)
    f[CERTAINTY] = probability_within(posterior, R, covariance)
    figures[problem] = f
