"""Rows of every modality: residuals, derivatives, weights against float64 NumPy and central differences."""

import numpy as np
import pytest
import warp as wp
from row_cases import (
    NO_CUTOFF,
    POSE,
    central_differences,
    contour_of,
    images_of,
    poses_at,
    structs,
    surface_of,
    unpack,
)

from dr_perception.device import evidence as ne
from dr_perception.geometry import Camera, make_transform, transform_points
from dr_perception.measure.contour_lines import HIDDEN_LINE, NO_OUTLINE, ContourLine
from dr_perception.measure.depth import DepthNoise, DepthPoint, accumulate_depth, measure_depth
from dr_perception.measure.line_rows import LineNoise, accumulate_lines
from dr_perception.measure.modalities import MODALITIES, OUTLINE

LENSES = {
    "pinhole": ("plumb_bob", ()),
    "plumb_bob": ("plumb_bob", (-0.28, 0.09, 0.0006, -0.0004)),
    "rational_polynomial": ("rational_polynomial", (0.62, -2.7, 0.0007, -0.0002, 1.55, 0.49, -2.5, 1.48)),
    "equidistant": ("equidistant", (0.02, -0.01, 0.003, -0.001)),
}


@pytest.fixture(params=list(LENSES))
def camera(request: pytest.FixtureRequest) -> Camera:
    model, coefficients = LENSES[request.param]
    return Camera(160, 120, 150.0, 149.0, 80.3, 58.9, coefficients, model)


def no_sums():
    return wp.zeros((1, len(MODALITIES), ne.NUM_SUMS), dtype=float, device="cpu")


def depth_rows(
    camera, depth, points, normals, noise, T=POSE, lanes=1, every=1, zoom=1.0, T_paired=None, found=None
):
    """Sums at a pose ``T`` of samples paired with depths at ``T_paired``, at ``T`` itself if None."""
    total = no_sums()
    surface = surface_of(zoom * camera.fx, found, point=points, normal=normals)
    pairs = wp.zeros((1, len(points)), dtype=DepthPoint, device="cpu")
    images = images_of(camera, depth=depth)
    paired = poses_at(T if T_paired is None else T_paired)
    wp.launch(measure_depth, pairs.shape, [surface, paired, images, noise, every], [pairs], device="cpu")
    inputs = [surface, pairs, poses_at(T), images, noise, every, lanes]
    wp.launch(accumulate_depth, (1, lanes), inputs, [total], device="cpu")
    return unpack(total)


def depth_noise(sigma_m=0.002, sigma_per_m2=0.003, lateral_px=0.7, cutoff=NO_CUTOFF, shared_px2=1.0):
    noise = DepthNoise()
    noise.sigma_m, noise.sigma_per_m2, noise.lateral_px = sigma_m, sigma_per_m2, lateral_px
    noise.cutoff, noise.shared_px2, noise.spacing_px = cutoff, shared_px2, 1.0
    return noise


def plane_image(camera, normal, point):
    """Depth image (H, W) of the plane through a point."""
    rays = np.concatenate([camera.rays(), np.ones((camera.height, camera.width, 1))], axis=-1).astype(
        np.float64
    )
    return (normal @ point) / (rays @ normal)


@pytest.mark.parametrize("offset_m", [0.0, 0.003])
def test_depth_row_is_the_derivative_of_the_distance_from_the_tangent_plane(
    camera: Camera, offset_m: float
) -> None:
    point_obj = np.array([0.03, -0.02, 0.05])
    normal = np.array([0.35, -0.2, -0.9]) / np.linalg.norm([0.35, -0.2, -0.9])
    normal_obj = POSE[:3, :3].T @ normal
    p = transform_points(POSE, point_obj)
    measured = p + offset_m * normal
    depth = plane_image(camera, normal, measured)

    def residual(T):
        """Distance of the measured plane from the moved point, along the plane's normal."""
        return normal @ (measured - transform_points(T, point_obj))

    H, g, sums = depth_rows(camera, depth, [point_obj], [normal_obj], depth_noise(shared_px2=2.0))
    J = -central_differences(residual)
    pixel = np.rint(camera.project(p)).astype(int)
    ray = np.array([*camera.rays()[pixel[1], pixel[0]], 1.0])
    sigma_z = 0.002 + 0.003 * p[2] ** 2
    sine2 = 1.0 - (normal @ ray) ** 2 / (ray @ ray)
    variance = (normal @ ray) ** 2 * sigma_z**2 + sine2 * (0.7 * p[2] / camera.fx) ** 2
    scale = 1.0 / (2.0 * variance)
    np.testing.assert_allclose(H, scale * np.outer(J, J), rtol=5e-4, atol=1e-4 * scale * J.max() ** 2)
    np.testing.assert_allclose(g, scale * J * offset_m, rtol=2e-3, atol=2e-6 * scale)
    assert sums[int(ne.ROWS)] == 1
    assert sums[int(ne.CHI2)] == pytest.approx(offset_m**2 / variance, rel=5e-3, abs=1e-3)
    assert sums[int(ne.COST)] == pytest.approx(offset_m**2 * scale, rel=5e-3, abs=1e-3)


def test_depth_rows_of_a_plane_leave_its_own_motions_free() -> None:
    camera = Camera(160, 120, 150.0, 149.0, 80.3, 58.9)
    T = make_transform(np.eye(3), np.array([0.0, 0.0, 0.5]))
    rng = np.random.default_rng(1)
    points = np.column_stack([rng.uniform(-0.1, 0.1, (200, 2)), np.zeros(200)])
    normals = np.tile([0.0, 0.0, -1.0], (200, 1))
    H, _, _ = depth_rows(camera, np.full((120, 160), 0.5), points, normals, depth_noise(), T)
    free = [0, 1, 5]
    assert np.abs(H[np.ix_(free, range(6))]).max() < 1e-6 * H[2, 2]
    assert np.linalg.eigvalsh(H[2:5, 2:5]).min() > 1e-4 * H[2, 2]


def test_the_objective_of_paired_samples_is_smooth_whatever_the_noise_of_the_pixels() -> None:
    camera = Camera(160, 120, 150.0, 149.0, 80.3, 58.9)
    rng = np.random.default_rng(2)
    depth = 0.5 + rng.normal(0.0, 0.003, (120, 160))
    points = np.column_stack([rng.uniform(-0.1, 0.1, (50, 2)), np.zeros(50)])
    normals = np.tile([0.3, 0.2, -1.0] / np.linalg.norm([0.3, 0.2, -1.0]), (50, 1))
    start = make_transform(np.eye(3), np.array([0.0, 0.0, 0.5]))
    shifts = np.linspace(0.0, 0.02, 41)

    def bend(**paired) -> float:
        """Largest second difference of the cost over shifts of six pixels, relative to the cost."""
        moved = [make_transform(np.eye(3), np.array([s, 0.0, 0.5])) for s in shifts]
        args = [camera, depth, points, normals, depth_noise()]
        costs = [depth_rows(*args, T, **paired)[2][int(ne.COST)] for T in moved]
        return float(np.abs(np.diff(costs, 2)).max() / np.mean(costs))

    assert bend(T_paired=start) < 0.01
    assert bend() > 0.05


def test_a_nearer_measurement_hides_and_a_farther_one_contradicts() -> None:
    camera = Camera(160, 120, 150.0, 149.0, 79.5, 59.5)
    T = make_transform(np.eye(3), np.array([0.0, 0.0, 0.5]))
    depth = np.full((120, 160), 0.5)
    depth[:, :60] = 0.3
    depth[:, 60:75] = 0.8
    depth[:, 75:78] = [0.0, np.nan, np.inf]
    columns = np.array([20, 40, 65, 70, 75, 76, 77, 90, 100, 110])
    rays = camera.rays()[60, columns]
    points = np.column_stack([rays * 0.5, np.zeros(len(columns))])
    H, g, sums = depth_rows(
        camera, depth, points, np.tile([0.0, 0.0, -1.0], (len(points), 1)), depth_noise(cutoff=4.0), T
    )
    counts = [sums[int(k)] for k in (ne.ROWS, ne.INLIERS, ne.HIDDEN, ne.CONTRADICTED)]
    assert counts == [7, 3, 2, 2]
    one, _, _ = depth_rows(
        camera, np.full((120, 160), 0.5), points[-3:], [[0, 0, -1.0]] * 3, depth_noise(), T
    )
    np.testing.assert_allclose(H, one, rtol=1e-4)
    assert np.isfinite(g).all()


def test_the_sum_does_not_depend_on_how_many_threads_share_it() -> None:
    camera = Camera(160, 120, 150.0, 149.0, 80.3, 58.9)
    T = make_transform(np.eye(3), np.array([0.0, 0.0, 0.5]))
    rng = np.random.default_rng(1)
    points = np.column_stack([rng.uniform(-0.1, 0.1, (97, 2)), rng.normal(0.0, 0.002, 97)])
    normals = np.tile([0.0, 0.0, -1.0], (97, 1))
    depth = np.full((120, 160), 0.5)
    one, many = (depth_rows(camera, depth, points, normals, depth_noise(), T, lanes)[2] for lanes in (1, 8))
    np.testing.assert_allclose(many, one, rtol=1e-4, atol=1e-4 * np.abs(one).max())


@pytest.mark.parametrize(
    ("zoom", "every", "rows"), [(1.0, 1, 8.0), (2.0, 1, 32.0), (1.0, 2, 4.0), (0.2, 1, 1.0)]
)
def test_samples_share_information_by_their_distance_in_the_image(
    zoom: float, every: int, rows: float
) -> None:
    camera = Camera(160, 120, 150.0, 149.0, 80.3, 58.9)
    T = make_transform(np.eye(3), np.array([0.0, 0.0, 0.5]))
    depth, points = np.full((120, 160), 0.5), np.zeros((4, 3))
    where = [camera, depth, points, np.tile([0.0, 0.0, -1.0], (4, 1))]
    one, _, _ = depth_rows(*where, depth_noise(), T, every=every)
    shared, _, _ = depth_rows(*where, depth_noise(shared_px2=8.0), T, every=every, zoom=zoom)
    np.testing.assert_allclose(shared, one / rows, rtol=1e-5)
    lines = [camera, [[0.01, 0.0, 0.0]], [[80.0, 60.0]], [[1.0, 0.0]], [0.2], [0.25]]
    alone, _, _ = line_rows(*lines)
    of_many, _, _ = line_rows(*lines, shared_px=8.0, zoom=zoom)
    np.testing.assert_allclose(of_many, alone / max(8.0 * zoom, 1.0), rtol=1e-5)


def test_evidence_counts_what_is_explained_and_free_space_against() -> None:
    camera = Camera(160, 120, 150.0, 149.0, 80.3, 58.9)
    T = make_transform(np.eye(3), np.array([0.0, 0.0, 0.5]))
    points, normals = np.zeros((6, 3)), np.tile([0.0, 0.0, -1.0], (6, 1))
    noise = depth_noise(cutoff=4.0, shared_px2=2.0)

    def evidence(count: int, measured_m: float) -> float:
        image = np.full((120, 160), measured_m)
        _, _, sums = depth_rows(camera, image, points[:count], normals[:count], noise, T)
        return sums[int(ne.GAIN)]

    worst = 4.0**2 / (3.0 * 2.0)
    assert evidence(6, 0.5) == pytest.approx(6 * worst, rel=1e-5)
    assert evidence(5, 0.5) == pytest.approx(5 * worst, rel=1e-5)
    assert 0.0 < evidence(6, 0.504) < evidence(6, 0.5)
    assert evidence(6, 0.3) == pytest.approx(0.0, abs=1e-5)
    assert evidence(6, 0.8) == pytest.approx(-6 * worst, rel=1e-5)


def line_rows(
    camera,
    points,
    centers,
    normals,
    offsets,
    variances,
    cutoff=NO_CUTOFF,
    shared_px=1.0,
    zoom=1.0,
    found=None,
):
    total, n = no_sums(), len(points)
    outward = np.tile([1.0, 0.0, 0.0], (n, 1))
    contour = contour_of(zoom * camera.fx, found, point=points, outward=outward, kind=np.zeros(n))
    lines = structs(ContourLine, center=centers, normal=normals, offset=offsets, variance=variances)
    noise = LineNoise()
    noise.cutoff, noise.shared_px, noise.spacing_px = cutoff, shared_px, 1.0
    inputs = [contour, lines, poses_at(POSE), images_of(camera), noise, 1]
    wp.launch(accumulate_lines, (1, 1), inputs, [total], device="cpu")
    return unpack(total, OUTLINE)


@pytest.mark.parametrize("angle", [0.3, 2.1, 4.4])
def test_line_row_is_the_derivative_of_the_distance_along_the_normal(camera: Camera, angle: float) -> None:
    point = np.array([0.06, 0.04, -0.05])
    normal = np.array([np.cos(angle), np.sin(angle)])
    center = camera.project(transform_points(POSE, point)) + np.array([0.4, -0.7])
    offset, variance = 1.3, 0.25

    def residual(T):
        return offset - normal @ (camera.project(transform_points(T, point)) - center)

    H, g, sums = line_rows(camera, [point], [center], [normal], [offset], [variance], shared_px=2.0)
    J = -central_differences(residual)
    scale = 1.0 / (2.0 * variance)
    np.testing.assert_allclose(H, scale * np.outer(J, J), rtol=5e-3, atol=2e-5 * scale * np.abs(J).max() ** 2)
    np.testing.assert_allclose(g, scale * J * residual(POSE), rtol=5e-3, atol=2e-4 * scale * np.abs(J).max())
    assert sums[int(ne.ROWS)] == sums[int(ne.INLIERS)] == 1
    assert sums[int(ne.CHI2)] == pytest.approx(residual(POSE) ** 2 / variance, rel=1e-3)


def test_lines_that_were_not_measured_or_are_hidden_do_not_pull() -> None:
    camera = Camera(160, 120, 150.0, 149.0, 80.3, 58.9)
    point = np.array([0.06, 0.04, -0.05])
    center = camera.project(transform_points(POSE, point))
    variances = [0.0, -1.0, 0.25]
    H, g, sums = line_rows(
        camera, [point] * 3, [center] * 3, [[1.0, 0.0]] * 3, [5.0, 5.0, 50.0], variances, cutoff=3.0
    )
    assert not H.any() and not g.any()
    assert sums[int(ne.ROWS)] == 1 and sums[int(ne.INLIERS)] == 0 and sums[int(ne.HIDDEN)] == 1
    assert sums[int(ne.COST)] == pytest.approx(3.0**2 / 3.0)


def test_lines_where_the_object_goes_on_beyond_its_model_are_counted() -> None:
    camera = Camera(160, 120, 150.0, 149.0, 80.3, 58.9)
    point = np.array([0.06, 0.04, -0.05])
    center = camera.project(transform_points(POSE, point))
    variances = [float(NO_OUTLINE), float(NO_OUTLINE), float(HIDDEN_LINE), 0.25]
    _, _, sums = line_rows(camera, [point] * 4, [center] * 4, [[1.0, 0.0]] * 4, [0.0] * 4, variances)
    assert sums[int(ne.CONTRADICTED)] == 2 and sums[int(ne.ROWS)] == 1


@pytest.mark.parametrize(("found", "rows"), [(0, 0), (2, 2), (4, 4), (9, 4)])
def test_rows_are_those_of_samples_that_were_found_and_had_room(found: int, rows: int) -> None:
    """What lies beyond is left over from an earlier render."""
    camera = Camera(160, 120, 150.0, 149.0, 80.3, 58.9)
    T = make_transform(np.eye(3), np.array([0.0, 0.0, 0.5]))
    points, normals = np.zeros((4, 3)), np.tile([0.0, 0.0, -1.0], (4, 1))
    depth = np.full((120, 160), 0.5)
    assert depth_rows(camera, depth, points, normals, depth_noise(), T, found=found)[2][int(ne.ROWS)] == rows
    lines = [camera, points, [[80.0, 60.0]] * 4, [[1.0, 0.0]] * 4, [0.2] * 4, [0.25] * 4]
    assert line_rows(*lines, found=found)[2][int(ne.ROWS)] == rows
