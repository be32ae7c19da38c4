# mypy: disable-error-code="valid-type, operator, index, assignment, no-untyped-def, return-value"
"""Kernels that judge and align thousands of poses of one model against the images of one frame.

A pose is judged from a few points that its nearest stored view shows, without rendering: each is projected
and compared with the depth, the normal and the mask at its pixel; points just outside the outline tell
whether something ends there; measured points of the object are looked up in the distance field of the model.
`align_poses` takes damped point-to-plane steps from the same points.
"""

import warp as wp

from dr_perception.device.evidence import Sums, add_row
from dr_perception.device.poses import Pose, Poses, place, pose_of
from dr_perception.estimate.levenberg_marquardt import normal_equations, solve_damped
from dr_perception.geometry.camera_warp import nearest_pixel, project, project_jacobian, ray
from dr_perception.geometry.se3_warp import exp_so3
from dr_perception.measure.images import Images

NUM_FEATURES = 14
TESTED = 0
"""Surface points in view."""
MEASURED = 1
"""Of these, points with a depth and not hidden."""
AGREE = 2
"""Agreement of measured points, 0 to 1 each: distance and normal."""
BEYOND = 3
"""Points that the sensor sees through."""
HIDDEN = 4
"""Points behind something nearer."""
OFF_MASK = 5
"""Points that the mask excludes although nothing hides them."""
EDGE_TESTED = 6
"""Points just outside the outline, in view and not hidden."""
EDGE_SEEN = 7
"""Of these, points where the surface ends: farther, or outside the mask."""
EDGE_IN_MASK = 8
"""Of these, points that the mask claims for the object."""
POINTS = 9
"""Measured points of the object looked up in the distance field, next to faces that were seen."""
POINTS_AGREE = 10
"""Their agreement, 0 to 1 each."""
UNMEASURED = 11
"""Surface points without a depth."""
CLOSE = 12
"""Measured points within the tolerance."""
AVAILABLE = 13
"""Surface points that would be in view were the image large enough."""

_TESTED, _MEASURED, _AGREE = wp.constant(0), wp.constant(1), wp.constant(2)
_BEYOND, _HIDDEN, _OFF_MASK = wp.constant(3), wp.constant(4), wp.constant(5)
_EDGE_TESTED, _EDGE_SEEN, _EDGE_IN_MASK = wp.constant(6), wp.constant(7), wp.constant(8)
_POINTS, _POINTS_AGREE, _UNMEASURED, _CLOSE, _AVAILABLE = (
    wp.constant(9),
    wp.constant(10),
    wp.constant(11),
    wp.constant(12),
    wp.constant(13),
)

INSIDE = 1
"""Label of a pixel that belongs to the object; 0 says nothing."""
OUTSIDE = 2
"""Label of a pixel that does not."""
_INSIDE = wp.constant(INSIDE)
_OUTSIDE = wp.constant(OUTSIDE)
_EDGE_PX = wp.constant(3.0)
_COVERING = wp.constant(2.75)
"""No direction is farther than this over the root of their number from the nearest of a Fibonacci lattice."""

Features = wp.types.vector(length=NUM_FEATURES, dtype=wp.float32)


@wp.struct
class ViewTable:
    """Points that stored views of a model show, in its frame [m]; the first index is the view.

    ``directions`` are a Fibonacci lattice.
    ``colors`` (0 to 1) are those of the surface points; empty for a model without. ``by_patch`` are the
    numbers of a view's points sorted by patches of the view, of which the k-th begins at ``patches[k]``.
    """

    directions: wp.array(dtype=wp.vec3)
    points: wp.array2d(dtype=wp.vec3)
    normals: wp.array2d(dtype=wp.vec3)
    count: wp.array(dtype=int)
    contour: wp.array2d(dtype=wp.vec3)
    outward: wp.array2d(dtype=wp.vec3)
    contour_count: wp.array(dtype=int)
    colors: wp.array2d(dtype=wp.vec3)
    by_patch: wp.array2d(dtype=int)
    patches: wp.array2d(dtype=int)


@wp.struct
class DistanceField:
    """Distance [m] to the surface at the nodes of a cube of half-width ``half`` around the model's centre.

    ``known`` is 1 at nodes whose nearest face was seen, 0 where nobody ever saw it; empty if all were.
    """

    values: wp.array3d(dtype=float)
    known: wp.array3d(dtype=float)
    half: float
    cells_per_m: float


@wp.struct
class SearchImages:
    """Images of one frame with normals in the camera's frame, 0 for none, and labels.

    The colour of ``seen`` may be empty; then nothing may ask for it.
    """

    seen: Images
    normal: wp.array2d(dtype=wp.vec3)
    label: wp.array2d(dtype=wp.uint8)


@wp.struct
class Tolerance:
    """When a measurement agrees: ``tau_m`` along the normal.

    ``samples``, ``edges``, ``points`` are how many are tested.
    """

    tau_m: float
    samples: int
    edges: int
    points: int


@wp.struct
class Alignment:
    """How poses are aligned: steps from so many samples each.

    The distance at which a measurement stops to pull shrinks from ``tau_first_m`` to ``tau_last_m``. ``hold``
    is the damping relative to the diagonal: what the points do not determine stays where it is.
    """

    samples: int
    steps: int
    tau_first_m: float
    tau_last_m: float
    hold: float


@wp.func
def nearest_view(views: ViewTable, direction: wp.vec3) -> int:
    """View whose direction is closest to a unit vector from the model to the camera.

    On a Fibonacci lattice the third coordinate falls evenly with the index, so that only a band of it can
    hold the nearest.
    """
    n = views.directions.shape[0]
    middle = 0.5 * (1.0 - direction[2]) * float(n)
    reach = 0.5 * _COVERING * wp.sqrt(float(n)) + 1.0
    best = int(0)
    best_dot = float(-2.0)
    for i in range(wp.max(wp.int32(middle - reach), 0), wp.min(wp.int32(middle + reach) + 1, n)):
        d = wp.dot(views.directions[i], direction)
        best = wp.where(d > best_dot, i, best)
        best_dot = wp.max(d, best_dot)
    return best


@wp.func
def _cell(field: DistanceField, p: wp.vec3) -> wp.vec3:
    """Place of a point among the nodes, whether inside the cube or not."""
    gx = (p[0] + field.half) * field.cells_per_m
    gy = (p[1] + field.half) * field.cells_per_m
    gz = (p[2] + field.half) * field.cells_per_m
    return wp.vec3(gx, gy, gz)


@wp.func
def _into_cube(field: DistanceField, g: wp.vec3) -> wp.vec3:
    limit = float(field.values.shape[0]) - 1.001
    return wp.vec3(wp.clamp(g[0], 0.0, limit), wp.clamp(g[1], 0.0, limit), wp.clamp(g[2], 0.0, limit))


@wp.func
def _distance(field: DistanceField, p: wp.vec3) -> float:
    """Trilinear distance; outside of the cube the distance at its wall and the way to it."""
    g = _cell(field, p)
    c = _into_cube(field, g)
    beyond = wp.length(g - c) / field.cells_per_m
    return _trilinear(field.values, c) + beyond


@wp.func
def _known(field: DistanceField, p: wp.vec3) -> float:
    """Share, 0 to 1, by which the surface nearest to a point was seen."""
    share = float(1.0)
    if field.known.shape[0] > 0:
        share = _trilinear(field.known, _into_cube(field, _cell(field, p)))
    return share


@wp.func
def _trilinear(v: wp.array3d[float], c: wp.vec3) -> float:
    ix = wp.int32(c[0])
    iy = wp.int32(c[1])
    iz = wp.int32(c[2])
    fx = c[0] - float(ix)
    fy = c[1] - float(iy)
    fz = c[2] - float(iz)
    x00 = v[ix, iy, iz] * (1.0 - fx) + v[ix + 1, iy, iz] * fx
    x10 = v[ix, iy + 1, iz] * (1.0 - fx) + v[ix + 1, iy + 1, iz] * fx
    x01 = v[ix, iy, iz + 1] * (1.0 - fx) + v[ix + 1, iy, iz + 1] * fx
    x11 = v[ix, iy + 1, iz + 1] * (1.0 - fx) + v[ix + 1, iy + 1, iz + 1] * fx
    y0 = x00 * (1.0 - fy) + x10 * fy
    y1 = x01 * (1.0 - fy) + x11 * fy
    return y0 * (1.0 - fz) + y1 * fz


@wp.func
def _surface_features(
    f: Features,
    pose: Pose,
    view: int,
    views: ViewTable,
    images: SearchImages,
    tolerance: Tolerance,
) -> Features:
    tau = tolerance.tau_m
    camera = images.seen.lens[0]
    f[_AVAILABLE] = float(wp.min(views.count[view], tolerance.samples))
    # No branch around the counts: Warp would copy all of them at the end of every branch.
    for i in range(wp.min(views.count[view], tolerance.samples)):
        p = place(pose, views.points[view, i])
        if p[2] <= 0.01:
            continue
        x, y, in_view = nearest_pixel(camera, p)
        if not in_view:
            continue
        z = images.seen.depth[y, x]
        n = pose.R * views.normals[view, i]
        gap = wp.where(z > 0.0, wp.dot(n, (z / p[2] - 1.0) * p), 0.0)
        hidden = wp.where(z > 0.0 and z < p[2] and gap > tau, 1.0, 0.0)
        off_mask = wp.where(wp.int32(images.label[y, x]) == _OUTSIDE, 1.0 - hidden, 0.0)
        unmeasured = wp.where(z > 0.0, 0.0, 1.0 - hidden - off_mask)
        measured = 1.0 - hidden - off_mask - unmeasured
        s = gap / tau
        close = wp.where(wp.abs(s) < 1.0, measured, 0.0)
        m = images.normal[y, x]
        facing = wp.where(wp.dot(m, m) > 0.5, wp.max(wp.dot(m, n), 0.0), 1.0)
        f[_TESTED] += 1.0
        f[_HIDDEN] += hidden
        f[_OFF_MASK] += off_mask
        f[_UNMEASURED] += unmeasured
        f[_MEASURED] += measured
        f[_BEYOND] += wp.where(s < -1.0, measured, 0.0)
        f[_CLOSE] += close
        f[_AGREE] += close * (1.0 - s * s) * facing * facing
    return f


@wp.func
def _edge_features(
    f: Features,
    pose: Pose,
    view: int,
    views: ViewTable,
    images: SearchImages,
    tolerance: Tolerance,
) -> Features:
    tau = tolerance.tau_m
    camera = images.seen.lens[0]
    for i in range(wp.min(views.contour_count[view], tolerance.edges)):
        p = place(pose, views.contour[view, i])
        if p[2] > 0.01:
            outward = project_jacobian(camera, p) * (pose.R * views.outward[view, i])
            uv = project(camera, p) + (_EDGE_PX / wp.max(wp.length(outward), 1.0e-6)) * outward
            x = wp.int32(wp.floor(uv[0] + 0.5))
            y = wp.int32(wp.floor(uv[1] + 0.5))
            if x >= 0 and y >= 0 and x < camera.width and y < camera.height:
                z = images.seen.depth[y, x]
                label = wp.int32(images.label[y, x])
                if z <= 0.0 or z > p[2] - 2.0 * tau:
                    f[_EDGE_TESTED] += 1.0
                    if label == _INSIDE:
                        f[_EDGE_IN_MASK] += 1.0
                    elif label == _OUTSIDE or z > p[2] + 1.5 * tau:
                        f[_EDGE_SEEN] += 1.0
                    elif z <= 0.0:
                        f[_EDGE_SEEN] += 0.5
    return f


@wp.kernel(enable_backward=False)
def judge_poses(
    poses: Poses,
    views: ViewTable,
    field: DistanceField,
    images: SearchImages,
    object_points: wp.array[wp.vec3],
    tolerance: Tolerance,
    # output
    features: wp.array[Features],
):
    """Count how the frame agrees with each pose.

    ``object_points`` are measured points that belong to the object. What lies nearest to faces that nobody
    ever saw says nothing: it may be of the true surface there, wherever that is.
    """
    i = wp.tid()
    pose = pose_of(poses, i)
    Rt = wp.transpose(pose.R)
    view = nearest_view(views, wp.normalize(-(Rt * pose.t)))
    f = Features()
    f = _surface_features(f, pose, view, views, images, tolerance)
    if tolerance.edges > 0:
        f = _edge_features(f, pose, view, views, images, tolerance)
    for k in range(wp.min(object_points.shape[0], tolerance.points)):
        p = Rt * (object_points[k] - pose.t)
        s = _distance(field, p) / tolerance.tau_m
        known = _known(field, p)
        f[_POINTS] += known
        f[_POINTS_AGREE] += known * wp.max(1.0 - s * s, 0.0)
    features[i] = f


@wp.kernel(enable_backward=False)
def align_poses(
    views: ViewTable,
    images: SearchImages,
    alignment: Alignment,
    # output
    poses: Poses,
):
    """Damped point-to-plane steps (Chen and Medioni 1992) with projective association."""
    i = wp.tid()
    R = poses.R[i, 0]
    t = poses.t[i, 0]
    camera = images.seen.lens[0]
    for step in range(alignment.steps):
        blend = float(step) / float(wp.max(alignment.steps - 1, 1))
        tau = alignment.tau_first_m + blend * (alignment.tau_last_m - alignment.tau_first_m)
        view = nearest_view(views, wp.normalize(-(wp.transpose(R) * t)))
        sums = Sums()
        # No branch around the sums: Warp would copy all of them at the end of every branch.
        for k in range(wp.min(views.count[view], alignment.samples)):
            arm = R * views.points[view, k]
            p = arm + t
            if p[2] <= 0.01:
                continue
            x, y, in_view = nearest_pixel(camera, p)
            if not in_view:
                continue
            z = images.seen.depth[y, x]
            if not (z > 0.0) or wp.int32(images.label[y, x]) == _OUTSIDE:
                continue
            n = R * views.normals[view, k]
            residual = wp.dot(n, z * ray(camera, wp.vec2(float(x), float(y))) - p)
            s = residual / tau
            w = wp.max(1.0 - s * s, 0.0)
            sums = add_row(sums, n, arm, residual, w * w)
        H, g = normal_equations(sums)
        xi = solve_damped(H, g, wp.float64(alignment.hold))
        R = exp_so3(wp.vec3(float(xi[3]), float(xi[4]), float(xi[5]))) * R
        t = t + wp.vec3(float(xi[0]), float(xi[1]), float(xi[2]))
    poses.R[i, 0] = R
    poses.t[i, 0] = t


@wp.kernel(enable_backward=False)
def estimate_normals(
    images: Images,
    reach: int,
    max_slope: float,
    # output
    normal: wp.array2d[wp.vec3],
):
    """Normals towards the camera from differences over ``reach`` pixels.

    Zero next to steps in depth and to gaps.
    """
    y, x = wp.tid()
    camera = images.lens[0]
    depth = images.depth
    normal[y, x] = wp.vec3(0.0, 0.0, 0.0)
    if x < reach or y < reach or x >= camera.width - reach or y >= camera.height - reach:
        return
    z = depth[y, x]
    zl = depth[y, x - reach]
    zr = depth[y, x + reach]
    zu = depth[y - reach, x]
    zd = depth[y + reach, x]
    if z <= 0.0 or zl <= 0.0 or zr <= 0.0 or zu <= 0.0 or zd <= 0.0:
        return
    # A plane has no second difference of inverse depth: a step has.
    bend = wp.max(wp.abs(1.0 / zl + 1.0 / zr - 2.0 / z), wp.abs(1.0 / zu + 1.0 / zd - 2.0 / z)) * z
    if bend > max_slope:
        return
    a = zr * ray(camera, wp.vec2(float(x + reach), float(y))) - zl * ray(
        camera, wp.vec2(float(x - reach), float(y))
    )
    b = zd * ray(camera, wp.vec2(float(x), float(y + reach))) - zu * ray(
        camera, wp.vec2(float(x), float(y - reach))
    )
    n = wp.cross(b, a)
    length = wp.length(n)
    if length > 0.0:
        normal[y, x] = n / length
