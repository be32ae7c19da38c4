"""What the edges of shadows add to the derivative: edges that bound what a light meets, on what they fall.

A light without distance takes a point of such an edge along its direction to the first face behind it. There
its own share of the colour begins or ends, and the image jumps by that share; the point moves with the edge,
with the face, with the light and with the camera, all of which the tape sees (`shadow_motion`).
"""

import warp as wp

from dr_perception.geometry.camera_warp import project, project_jacobian, ray
from dr_perception.rays.film import CastImages, Film, camera_of, face_on
from dr_perception.rays.hits import RayGeometry, any_hit, nearest_hit
from dr_perception.rays.jumps import (
    NEAR_M,
    CastEdges,
    EdgeDraw,
    EdgePoints,
    face_normal,
    in_camera,
    pick,
    pixel_at,
    place_in,
    target_of,
    total_weight,
    turns_from,
)
from dr_perception.rays.look import FAR_M, SKIN, CastLights, CastSurface, face_under, material_at, place
from dr_perception.render.shading.material import diffuse_color, normal_reflectance, reflected


@wp.kernel(enable_backward=False)
def weigh_shadow_edges(
    geometry: RayGeometry,
    surface: CastSurface,
    lights: CastLights,
    table: CastEdges,
    # output
    draw: EdgeDraw,
):
    """Length across the light [m] of every edge that bounds what it meets, 0 for all others; [view, row]."""
    view, row = wp.tid()
    count = table.edges.shape[0]
    edge = table.edges[row % count]
    light = lights.light_cam[view % lights.light_cam.shape[0], row / count]
    draw.weight[view, row] = wp.float64(0.0)
    draw.span[view, row] = wp.vec2(0.0, 1.0)
    if turns_from(geometry, surface, view, edge, light):
        k = surface.face_instance[edge[2]]
        along = geometry.R_cam_inst[view, k] * (place(surface, edge[1]) - place(surface, edge[0]))
        draw.weight[view, row] = wp.float64(wp.length(wp.cross(along, light)))


@wp.func
def _slide(v: wp.vec3, light: wp.vec3, n: wp.vec3) -> wp.vec3:
    """A vector taken along the light into a plane."""
    return v - (wp.dot(n, v) / wp.dot(n, light)) * light


@wp.func
def _share(
    geometry: RayGeometry,
    surface: CastSurface,
    lights: CastLights,
    view: int,
    face: int,
    d: wp.vec3,
    index: int,
) -> wp.vec3:
    """Colour that one light gives to the point of a face on the ray ``d``, if nothing blocks it."""
    point = material_at(geometry, surface, view, face, face_under(geometry, surface, view, face, d))
    light = lights.light_cam[view % lights.light_cam.shape[0], index]
    full = reflected(point, light, diffuse_color(point), normal_reflectance(point))
    return wp.cw_mul(full, lights.light_colors[index])


@wp.kernel(enable_backward=False)
def sample_shadow_edges(
    geometry: RayGeometry,
    surface: CastSurface,
    lights: CastLights,
    film: Film,
    table: CastEdges,
    draw: EdgeDraw,
    grads: CastImages,
    # output
    points: EdgePoints,
):
    """Draw points on edges that bound what a light meets, and find where the camera sees their shadow."""
    view, i = wp.tid()
    count = points.row.shape[1]
    points.row[view, i] = -1
    if total_weight(draw, view) <= wp.float64(0.0):
        return
    target = target_of(draw, view, i, count)
    row = pick(draw, view, target)
    if draw.weight[view, row] <= wp.float64(0.0):
        return
    e = row % table.edges.shape[0]
    edge = table.edges[e]
    k = surface.face_instance[edge[2]]
    light = lights.light_cam[view % lights.light_cam.shape[0], row / table.edges.shape[0]]
    s = place_in(draw, view, row, target)
    e12 = geometry.R_cam_inst[view, k] * (place(surface, edge[1]) - place(surface, edge[0]))
    p = in_camera(geometry, surface, view, k, edge[0]) + s * e12
    skin = SKIN * wp.length(p)
    hit = nearest_hit(geometry, view, p - skin * light, -light, FAR_M)
    if hit.instance < 0 or any_hit(geometry, view, p + skin * light, light, FAR_M):
        return
    receiver = surface.first_face[hit.instance] + hit.face
    n = face_normal(geometry, surface, view, receiver)
    q = p - (skin + hit.t) * light
    if q[2] <= NEAR_M or wp.dot(n, light) * wp.dot(n, q) >= 0.0:
        return  # behind the camera, or the camera sees the side that is dark anyway
    camera = camera_of(film, view)
    x = project(camera, q)
    at = pixel_at(film, x)
    d = ray(camera, x)
    if at[0] < 0 or face_on(geometry, surface, view, d) != receiver:
        return
    J = project_jacobian(camera, q)
    tangent = J * _slide(e12, light, n)
    length = wp.length(tangent)
    if length <= 0.0:
        return
    across = wp.vec2(tangent[1], -tangent[0]) / length
    inward = in_camera(geometry, surface, view, k, table.opposite[e][0]) - p
    inward = inward - (wp.dot(inward, e12) / wp.dot(e12, e12)) * e12
    dark = wp.sign(wp.dot(across, J * _slide(inward, light, n)))
    share = _share(geometry, surface, lights, view, receiver, d, row / table.edges.shape[0])
    density = wp.float32(draw.weight[view, row] / total_weight(draw, view)) * float(count)
    points.row[view, i] = row
    points.along[view, i] = s
    points.receiver[view, i] = receiver
    points.across[view, i] = (length / density) * across
    points.value[view, i] = dark * wp.dot(grads.color[view, at[1], at[0]], share)


@wp.kernel
def shadow_motion(
    geometry: RayGeometry,
    surface: CastSurface,
    lights: CastLights,
    film: Film,
    table: CastEdges,
    points: EdgePoints,
    # output
    total: wp.array[wp.float64],
):
    """A number whose derivative is what the edges of shadows add: the sum of ``value * across . x``."""
    view, i = wp.tid()
    row = points.row[view, i]
    if row >= 0 and points.value[view, i] != 0.0:
        count = table.edges.shape[0]
        edge = table.edges[row % count]
        k = surface.face_instance[edge[2]]
        light = lights.light_cam[view % lights.light_cam.shape[0], row / count]
        s = points.along[view, i]
        middle = (1.0 - s) * place(surface, edge[0]) + s * place(surface, edge[1])
        p = geometry.R_cam_inst[view, k] * middle + geometry.t_cam_inst[view, k]
        face = points.receiver[view, i]
        n = face_normal(geometry, surface, view, face)
        on = surface.faces[face][0]
        q = p - in_camera(geometry, surface, view, surface.face_instance[face], on)
        x = project(camera_of(film, view), p - (wp.dot(n, q) / wp.dot(n, light)) * light)
        wp.atomic_add(total, 0, wp.float64(points.value[view, i] * wp.dot(points.across[view, i], x)))
