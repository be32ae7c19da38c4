"""Silhouette rows: the outline of the model against the outline seen in the colour image.

Contour points of the model are searched along their image normals for the place where the colour changes from
the object's to the background's. Two measurements of that place serve at different ranges:

* `dr_perception.measure.region_lines` weighs every offset along the line by colour histograms of object and
  background (the posterior of Prisacariu and Reid 2012; correspondence lines of Stoiber et al. 2022, SRT3D).
  It reaches many pixels.
* `dr_perception.measure.step_lines` takes the mean colours on either side of one line as the two levels of a
  blurred step and reads the position off the area under it, which does not depend on the blur. It reaches few
  pixels, and resolves a small part of one.

Either gives a signed offset along the normal with its variance; `dr_perception.measure.line_rows` turns them
into rows.
"""

import warp as wp

from dr_perception.device.poses import Pose, place
from dr_perception.geometry.camera_warp import CameraParams, project, project_jacobian
from dr_perception.view.contour import OPEN, ContourSample

HIDDEN_LINE = wp.constant(-1.0)
NO_OUTLINE = wp.constant(-2.0)
_NEAR_PX = wp.constant(3.0)
_FAR_PX = wp.constant(6.0)


@wp.struct
class ContourLine:
    """A measured line: the outline lies ``offset`` pixels from ``center`` along ``normal``.

    Variance 0 marks no measurement, `HIDDEN_LINE` a contour point that something nearer hides, `NO_OUTLINE`
    one at an open edge of the mesh beyond which the object goes on.
    """

    center: wp.vec2
    normal: wp.vec2
    offset: float
    variance: float


@wp.struct
class LineSearch:
    """How lines are searched.

    reach: steps to either side (region search). step_px: pixels a step. sharpness: share of a pixel's log
    likelihood ratio that is independent of its neighbours'. prior_sigma_px: where the outline is expected.
    occlusion_m: a measurement nearer than the model by more than this hides the line. floor_px: standard
    deviation that no line goes below. inner_floor_px: the same for edges inside the outline, whose two sides
    are of one material: what is seen is shade, which a rounded edge shifts. color_sigma: image noise in grey
    levels.
    """

    reach: int
    step_px: float
    sharpness: float
    prior_sigma_px: float
    occlusion_m: float
    floor_px: float
    inner_floor_px: float
    color_sigma: float


@wp.func
def is_inside(x: int, y: int, camera: CameraParams) -> bool:
    """Whether a pixel is one of the image."""
    return x >= 0 and y >= 0 and x < camera.width and y < camera.height


@wp.func
def _is_in_view(uv: wp.vec2, camera: CameraParams) -> bool:
    """Whether a place lies in the image; an outline outside is as unknown as one behind something."""
    return is_inside(wp.int32(wp.floor(uv[0] + 0.5)), wp.int32(wp.floor(uv[1] + 0.5)), camera)


@wp.func
def _is_hidden(uv: wp.vec2, z: float, camera: CameraParams, depth: wp.array2d[float], margin: float) -> bool:
    """Whether something measured near a pixel is nearer than ``z`` by a margin."""
    hidden = bool(False)
    for k in range(5):
        dx = wp.where(k == 1, 2.0, wp.where(k == 2, -2.0, 0.0))
        dy = wp.where(k == 3, 2.0, wp.where(k == 4, -2.0, 0.0))
        x = wp.int32(wp.floor(uv[0] + dx + 0.5))
        y = wp.int32(wp.floor(uv[1] + dy + 0.5))
        if is_inside(x, y, camera):
            measured = depth[y, x]
            if measured > 0.0 and measured < z - margin:
                hidden = True
    return hidden


@wp.func
def _is_level(uv: wp.vec2, z: float, camera: CameraParams, depth: wp.array2d[float], margin: float) -> bool:
    x = wp.int32(wp.floor(uv[0] + 0.5))
    y = wp.int32(wp.floor(uv[1] + 0.5))
    if not is_inside(x, y, camera):
        return False
    measured = depth[y, x]
    return measured > 0.0 and wp.abs(measured - z) < margin


@wp.func
def goes_on(
    line: ContourLine, z: float, camera: CameraParams, depth: wp.array2d[float], margin: float
) -> bool:
    """Whether the measured surface goes on beyond a contour point at depth ``z``, within a margin of it."""
    near = line.center + _NEAR_PX * line.normal
    far = line.center + _FAR_PX * line.normal
    return _is_level(near, z, camera, depth, margin) and _is_level(far, z, camera, depth, margin)


@wp.func
def line_at(
    sample: ContourSample, pose: Pose, camera: CameraParams, depth: wp.array2d[float], occlusion_m: float
) -> ContourLine:
    """The line of a contour point at a pose.

    Its variance is 1, negative where there is no outline to be seen, 0 behind the camera.
    """
    line = ContourLine()
    p = place(pose, sample.point)
    if p[2] > 0.0:
        line.center = project(camera, p)
        direction = project_jacobian(camera, p) * (pose.R * sample.outward)
        length = wp.length(direction)
        if length > 0.0:
            line.normal = direction / length
            line.variance = 1.0
            hidden = _is_hidden(line.center, p[2], camera, depth, occlusion_m)
            if hidden or not _is_in_view(line.center, camera):
                line.variance = HIDDEN_LINE
            elif sample.kind == OPEN and goes_on(line, p[2], camera, depth, 0.5 * occlusion_m):
                line.variance = NO_OUTLINE
    return line
