"""What a ray of the camera sees of a scene: the point, its material and the light on it.

Which face a ray meets and whether a light is blocked are constants here, so ``wp.Tape`` gives the derivative
inside surfaces; that of the jumps between them is the business of `jumps` and `shadow_edges`.
"""

import warp as wp

from dr_perception.rays.hits import RayGeometry, any_hit
from dr_perception.render.shading.interpolation import (
    FaceOnRay,
    depth_on_ray,
    mix,
    weights_on_ray,
)
from dr_perception.render.shading.material import (
    Surface,
    diffuse_color,
    normal_reflectance,
    reflected,
)
from dr_perception.render.shading.shade import from_everywhere
from dr_perception.render.shading.texture import sample_texture

SKIN = wp.constant(1.0e-4)
"""How far before a surface its shadow rays start, in parts of its depth: 300 roundings of a float."""
FAR_M = wp.constant(1.0e4)
"""Distance [m] beyond which nothing is looked for."""


@wp.struct
class CastSurface:
    """Faces of all instances and what their corners and materials have; see `SceneTopology`."""

    faces: wp.array[wp.vec3i]
    face_instance: wp.array[int]
    first_face: wp.array[int]
    """Of each instance."""
    vertex_source: wp.array[int]
    places: wp.array[wp.vec3]
    """Positions of the meshes' places in their frames [m]."""
    normal_index: wp.array[wp.vec3i]
    normal_source: wp.array[int]
    normals: wp.array[wp.vec3]
    """Shading normals of the meshes in their frames."""
    corner_vertex: wp.array[wp.vec3i]
    vertex_colors: wp.array[wp.vec3]
    corner_uv: wp.array2d[wp.vec2]
    textures: wp.array[wp.vec3i]
    texels: wp.array[wp.vec3]
    albedo: wp.array[wp.vec3]
    roughness: wp.array[float]
    metallic: wp.array[float]
    specular: wp.array[float]


@wp.struct
class CastLights:
    """The lights of a scene in the frames of its cameras."""

    ambient: wp.array[wp.vec3]
    light_cam: wp.array2d[wp.vec3]
    """Unit directions to the lights, by camera."""
    light_colors: wp.array[wp.vec3]
    harmonics: wp.array[wp.vec3]
    R_world_cam: wp.array[wp.mat33]
    shadows: int
    """Whether surfaces block the lights that have a direction."""


@wp.struct
class Seen:
    """What one ray sees; ``face`` is -1 where it sees the background."""

    depth: float
    silhouette: float
    normal: wp.vec3
    color: wp.vec3
    face: int


@wp.func
def place(surface: CastSurface, vertex: int) -> wp.vec3:
    """Position of a vertex of an instance in the frame of its mesh [m]."""
    return surface.places[surface.vertex_source[vertex]]


@wp.func
def face_under(geometry: RayGeometry, surface: CastSurface, view: int, face: int, d: wp.vec3) -> FaceOnRay:
    """A face and the ray ``d`` = (x, y, 1) that sees it, in the camera frame."""
    k = surface.face_instance[face]
    R = geometry.R_cam_inst[view, k]
    f = surface.faces[face]
    a = place(surface, f[0])
    s = FaceOnRay()
    # edges are taken in the frame of the mesh, where their digits are
    s.a = R * a + geometry.t_cam_inst[view, k]
    s.e1 = R * (place(surface, f[1]) - a)
    s.e2 = R * (place(surface, f[2]) - a)
    s.d = d
    s.n = wp.cross(s.e1, s.e2)
    s.n_d = wp.dot(s.n, d)
    return s


@wp.func
def _base_color(surface: CastSurface, face: int, w: wp.vec3) -> wp.vec3:
    """Linear RGB at barycentric weights ``w`` of a face: colours of its vertices, texture and albedo."""
    k = surface.face_instance[face]
    c = surface.corner_vertex[face]
    color = mix(w, surface.vertex_colors[c[0]], surface.vertex_colors[c[1]], surface.vertex_colors[c[2]])
    texture = surface.textures[k]
    if texture[1] > 0:
        uv = w[0] * surface.corner_uv[face, 0]
        uv += w[1] * surface.corner_uv[face, 1] + w[2] * surface.corner_uv[face, 2]
        color = wp.cw_mul(color, sample_texture(surface.texels, texture, uv))
    return wp.cw_mul(color, surface.albedo[k])


@wp.func
def material_at(geometry: RayGeometry, surface: CastSurface, view: int, face: int, s: FaceOnRay) -> Surface:
    """The surface point where a ray meets a face, its normal on the side that is seen."""
    k = surface.face_instance[face]
    w = weights_on_ray(s)
    corner = surface.normal_index[face]
    n = mix(
        w,
        surface.normals[surface.normal_source[corner[0]]],
        surface.normals[surface.normal_source[corner[1]]],
        surface.normals[surface.normal_source[corner[2]]],
    )
    side = wp.where(s.n_d > 0.0, -1.0, 1.0)
    out = Surface()
    out.normal = side * wp.normalize(geometry.R_cam_inst[view, k] * n)
    out.eye = -wp.normalize(s.d)
    out.base = _base_color(surface, face, w)
    out.roughness = surface.roughness[k]
    out.metallic = surface.metallic[k]
    out.specular = surface.specular[k]
    return out


@wp.func
def is_blocked(geometry: RayGeometry, view: int, s: FaceOnRay, light: wp.vec3) -> bool:
    """Whether anything lies between a point and a light without distance."""
    z = depth_on_ray(s)
    side = wp.sign(wp.dot(s.n, light)) / wp.length(s.n)
    return any_hit(geometry, view, z * s.d + (SKIN * z * side) * s.n, light, FAR_M)


@wp.func
def light_on(geometry: RayGeometry, lights: CastLights, view: int, point: Surface, s: FaceOnRay) -> wp.vec3:
    """Linear RGB of a surface point under all lights."""
    camera = view % lights.light_cam.shape[0]
    diffuse = diffuse_color(point)
    f0 = normal_reflectance(point)
    color = from_everywhere(point, diffuse + f0, camera, lights.ambient, lights.harmonics, lights.R_world_cam)
    for k in range(lights.light_colors.shape[0]):
        light = lights.light_cam[camera, k]
        share = 1.0
        if lights.shadows != 0:
            if is_blocked(geometry, view, s, light):
                share = 0.0
        color += share * wp.cw_mul(reflected(point, light, diffuse, f0), lights.light_colors[k])
    return color


@wp.func
def look(
    geometry: RayGeometry, surface: CastSurface, lights: CastLights, view: int, face: int, d: wp.vec3
) -> Seen:
    """What the ray ``d`` sees of a face that it meets."""
    s = face_under(geometry, surface, view, face, d)
    point = material_at(geometry, surface, view, face, s)
    out = Seen()
    out.face = face
    out.depth = depth_on_ray(s)
    out.silhouette = 1.0
    out.normal = point.normal
    out.color = light_on(geometry, lights, view, point, s)
    return out
