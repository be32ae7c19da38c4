"""`Renderer`: owns the buffers and turns scenes into images, with gradients through ``wp.Tape``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from threading import RLock
from weakref import WeakKeyDictionary

import numpy as np
import warp as wp
from numpy.typing import ArrayLike

from dr_perception.device.launcher import Launcher
from dr_perception.device.session import current_session
from dr_perception.device.tape import active_tape
from dr_perception.device.threads import separate_threads
from dr_perception.geometry.camera import Camera
from dr_perception.raster.types import viewport
from dr_perception.render import pipeline
from dr_perception.render.backward import pull_back
from dr_perception.render.blending import Blended, blended_options, check_sampled
from dr_perception.render.captured import CapturedRender, Loss
from dr_perception.render.scene import intrinsics
from dr_perception.render.scene.checks import check_finite, check_images, check_parameters, check_type
from dr_perception.render.scene.images import CHANNEL, Images, RenderOptions, crop_box, image_types
from dr_perception.render.scene.parameters import SceneParameters, make_parameters
from dr_perception.render.scene.sampling import samples_for
from dr_perception.render.scene.scene import Scene
from dr_perception.render.scene.topology import SceneTopology
from dr_perception.render.supersampling import Target, enlarge, enlarged_options, enlarged_parameters
from dr_perception.render.workspace import SceneArrays, Workspace, WorkspaceKey, bytes_per_view

__all__ = ["Renderer", "render"]

_MAX_CACHED = 8


@dataclass(frozen=True, eq=False)
class _Request:
    """One call of `Renderer.render`, as the backward pass needs it again."""

    scene: Scene
    parameters: SceneParameters
    options: RenderOptions
    images: Images
    blended: Blended | None = None


class Renderer:
    """Draws scenes; keeps topology, buffers and recorded launches for the next call.

    Views beyond the memory budget are drawn in chunks, and the backward pass draws each chunk again instead
    of keeping its buffers. The same happens when another render has used the buffers in between, so any order
    of calls is right; going back right after going forward is fastest. Threads that share a renderer take
    turns; each needs its own to draw at the same time.

        renderer = Renderer()
        parameters = renderer.parameters(scene, camera, requires_grad=("pose",))
        with wp.Tape() as tape:
            images = renderer.render(scene, parameters)
            wp.launch(loss_kernel, ...)          # from images.depth, .silhouette, .color, .normal to a scalar
        tape.backward(loss)
        parameters.pose.grad                     # (v, w) of DESIGN section 2, for every hypothesis and
        instance
    """

    def __init__(self, device: wp.DeviceLike = None, memory_budget_mb: float = 256.0) -> None:
        """A renderer on a device.

        Args:
            device: Warp device; None: the default one.
            memory_budget_mb: Scratch memory [MB] that a chunk of views may take.

        Raises:
            TypeError: A budget that is no number.
            ValueError: A budget that is not positive.
        """
        check_type(memory_budget_mb, (int, float), "memory_budget_mb")
        if not memory_budget_mb > 0.0:
            raise ValueError(f"memory_budget_mb must be positive, got {memory_budget_mb}")
        separate_threads()
        self.device = wp.get_device(device)
        self._lock = RLock()
        self.memory_budget_mb = float(memory_budget_mb)
        self._arrays: dict[tuple, SceneArrays] = {}
        self._workspaces: dict[tuple[SceneArrays, WorkspaceKey], tuple[Workspace, Launcher]] = {}
        self._checked: WeakKeyDictionary[SceneParameters, SceneTopology] = WeakKeyDictionary()
        self._samples: WeakKeyDictionary[SceneParameters, dict[tuple[RenderOptions, int], RenderOptions]] = (
            WeakKeyDictionary()
        )
        self._enlarged: WeakKeyDictionary[SceneParameters, dict[int, SceneParameters]] = WeakKeyDictionary()

    def parameters(
        self,
        scene: Scene,
        cameras: Camera | Sequence[Camera],
        T_world_cam: ArrayLike | None = None,
        poses: ArrayLike | None = None,
        requires_grad: Collection[str] = (),
    ) -> SceneParameters:
        """Upload what makes the picture; see `dr_perception.render.scene.parameters.make_parameters`."""
        check_type(scene, Scene, "scene", _SCENE_HINT)
        with self._lock:
            topology = self._scene_arrays(scene).topology
        return make_parameters(scene, topology, cameras, T_world_cam, poses, requires_grad, self.device)

    def render(
        self,
        scene: Scene,
        parameters: SceneParameters | Camera,
        options: RenderOptions | None = None,
        out: Images | None = None,
    ) -> Images:
        """Draw every view.

        Args:
            scene: The scene whose topology is drawn.
            parameters: Its parameters on this device, or just a camera.
            options: What to draw.
            out: Images of an earlier call with the same sizes, to be overwritten; None: new ones.

        Returns:
            Images of all views. When a ``wp.Tape`` is recording and parameters require gradients, gradients
            of the float
            images flow back to the parameters in ``tape.backward``.

        Raises:
            TypeError: An argument is of another type.
            ValueError: The parameters belong to another scene or do not fit each other, positions, poses or
                intrinsics are not finite (which a CPU alone tells), ``out`` has other images, or the crop
                leaves the image.
        """
        _check_types(scene, parameters, options)
        with self._lock:
            if isinstance(parameters, Camera):
                parameters = self.parameters(scene, parameters)
            return self._render(scene, parameters, options or RenderOptions(), out)

    def _render(
        self, scene: Scene, parameters: SceneParameters, options: RenderOptions, out: Images | None
    ) -> Images:
        self._check(scene, parameters)
        options = self._settled(scene, parameters, options, views=1)
        _, _, width, height = crop_box(options, parameters.image_size)
        if out is not None:
            check_type(out, Images, "out")
            shape = (parameters.num_views, height, width)
            check_images(out, parameters, image_types(options, parameters, shape))
            object.__setattr__(out, "supersampling", options.supersampling)
        images = out or self._new_images(parameters, options, width, height)
        self._draw(_Request(scene, parameters, options, images), width, height)
        return images

    def antialias(
        self,
        scene: Scene,
        parameters: SceneParameters,
        image: wp.array,
        options: RenderOptions | None = None,
    ) -> wp.array:
        """Blend an image that was made of samples at pixel centres over the outline of a scene.

        What `render` does with its own colours, for those of a shader of the user's own:

            images = renderer.render(scene, parameters, RenderOptions(channels=("uv",), antialias=False))
            wp.launch(shader, ...)                                  # from images.uv to an image
            picture = renderer.antialias(scene, parameters, image)  # right at outlines, and moves with them

        Where an edge passes through a pixel, what lies beyond it takes its share of the pixel, as a
        neighbouring pixel's centre shows it. The derivative has the motion of the outline, and goes on to the
        image; that inside of surfaces is the shader's.

        Args:
            scene: The scene whose outline is found.
            parameters: Its parameters on this device, those that the image was drawn with.
            image: float or vectors of them, shape (views, rows, columns), or float of shape (views, rows,
                columns, n); any numbers, also where nothing is seen.
            options: Crop and near plane of the image.

        Returns:
            A new image of the same shape and type.

        Raises:
            TypeError: An argument is of another type.
            ValueError: The image has another shape or type, the options ask for several samples a pixel, or
                as `render`.
        """
        _check_types(scene, parameters, options)
        check_type(parameters, SceneParameters, "parameters of antialias")
        drawn = blended_options(options or RenderOptions())
        with self._lock:
            self._check(scene, parameters)
            _, _, width, height = crop_box(drawn, parameters.image_size)
            check_sampled(image, (parameters.num_views, height, width), self.device)
            wanted = bool(parameters.requires_grad) or image.requires_grad
            made = wp.empty(image.shape, dtype=image.dtype, device=self.device, requires_grad=wanted)
            self._draw(_Request(scene, parameters, drawn, Images(), Blended(image, made)), width, height)
            return made

    def _draw(self, request: _Request, width: int, height: int) -> None:
        if width > 0 and height > 0:
            for first, count in self._chunks(request, width, height):
                chunk = self._chunk(request, first, count)
                pipeline.draw(chunk)
                if chunk.work.is_astray():
                    check_finite(request.parameters)
                chunk.work.token = (request.images, first)
            self._record(request, width, height)

    def capture(
        self,
        scene: Scene,
        parameters: SceneParameters,
        options: RenderOptions | None = None,
        loss: Loss | None = None,
    ) -> CapturedRender:
        """Capture a render, and what follows it up to the gradients of the parameters, into graphs.

            captured = renderer.capture(scene, parameters, options, lambda images: l2(images.depth, target))
            for _ in range(100):
                captured.step()                      # one call: draw, loss, gradients
                ...                                  # parameters.pose.grad -> new parameters.pose

        Without a loss, write ``captured.images.<name>.grad`` between ``captured.draw()`` and
        ``captured.pull_back()``. The graphs own buffers beside those of the renderer. On CUDA no other thread
        may launch kernels on the device during this call.

        Args:
            scene: The scene whose topology is drawn.
            parameters: Its parameters on this device.
            options: What to draw.
            loss: Scalar of the images, launched on the device without waiting for it; may be any sum of
                `dr_perception.losses`.

        Raises:
            TypeError, ValueError: As `render`; or the views do not fit the memory budget, or the crop is
                empty.
        """
        _check_types(scene, parameters, options)
        check_type(parameters, SceneParameters, "parameters of a captured render")
        if loss is not None and not callable(loss):
            raise TypeError(f"loss must be a function of the images, got {type(loss).__name__}")
        with self._lock:
            return self._captured(scene, parameters, options or RenderOptions(), loss)

    def _captured(
        self, scene: Scene, parameters: SceneParameters, options: RenderOptions, loss: Loss | None
    ) -> CapturedRender:
        self._check(scene, parameters)
        options = self._settled(scene, parameters, options, parameters.num_views)
        box = crop_box(options, parameters.image_size)
        images = self._new_images(parameters, options, box[2], box[3])
        request = _Request(scene, parameters, options, images)
        if box[2] == 0 or box[3] == 0:
            raise ValueError(f"capture needs an image that is not empty, got crop {options.crop}")
        if len(self._chunks(request, box[2], box[3])) > 1:
            raise ValueError(
                f"capture needs all {parameters.num_views} views within memory_budget_mb, "
                f"got {self.memory_budget_mb:g}"
            )
        arrays, views = self._scene_arrays(scene), parameters.num_views
        fine, drawn = self._drawn(request)
        box = crop_box(drawn, fine.image_size)
        work = Workspace(arrays, _workspace_key(fine, box, views), self.device)
        chunk = self._assemble(request, work, Launcher(self.device), 0, views)
        return CapturedRender(
            chunk,
            lambda: self._prepare(chunk, box),
            loss,
            bool(parameters.requires_grad),
        )

    def _scene_arrays(self, scene: Scene) -> SceneArrays:
        key = tuple((id(i.mesh), i.material.crease_angle_rad) for i in scene.instances)
        found = self._arrays.get(key)
        if found is None:
            if len(self._arrays) >= _MAX_CACHED:
                self._arrays.pop(next(iter(self._arrays)))
            found = self._arrays[key] = SceneArrays(SceneTopology.of(scene.instances), self.device)
        return found

    def _check(self, scene: Scene, parameters: SceneParameters) -> None:
        """Parameters are looked at once; what they hold may change, which arrays they are may not."""
        topology = self._scene_arrays(scene).topology
        if self._checked.get(parameters) is not topology:
            check_parameters(parameters, topology, self.device)
            self._checked[parameters] = topology

    def _new_images(
        self, p: SceneParameters, options: RenderOptions, width: int, height: int, views: int | None = None
    ) -> Images:
        shape = (p.num_views if views is None else views, height, width)
        made = {
            name: wp.empty(
                shape,
                dtype=dtype,
                device=self.device,
                requires_grad=bool(p.requires_grad) and CHANNEL[name].differentiable,
            )
            for name, (dtype, shape) in image_types(options, p, shape).items()
        }
        return Images(**made, supersampling=options.supersampling or 1)

    def _settled(self, scene: Scene, p: SceneParameters, options: RenderOptions, views: int) -> RenderOptions:
        """Options with a number of samples: what derivatives need, as far as so many views fit the budget."""
        if options.supersampling is not None:
            return options
        known = self._samples.setdefault(p, {})
        if (options, views) not in known:
            _, _, width, height = crop_box(options, p.image_size)
            n = samples_for(p.extent, p.requires_grad, options)
            while n > 1 and views * self._bytes_per_view(scene, n * width, n * height) > self._budget:
                n -= 2
            known[options, views] = replace(options, supersampling=n)
        return known[options, views]

    @property
    def _budget(self) -> float:
        return self.memory_budget_mb * 1e6

    def _bytes_per_view(self, scene: Scene, width: int, height: int) -> int:
        return bytes_per_view(self._scene_arrays(scene), width, height)

    def _chunks(self, request: _Request, width: int, height: int) -> list[tuple[int, int]]:
        """First view and number of views of every chunk; all of one size but the last."""
        total, n = request.parameters.num_views, request.options.supersampling or 1
        per_view = self._bytes_per_view(request.scene, n * width, n * height)
        size = max(1, min(int(self._budget // per_view), total))
        return [(first, min(size, total - first)) for first in range(0, total, size)]

    def _drawn(self, request: _Request) -> tuple[SceneParameters, RenderOptions]:
        """Parameters and options of what is drawn, before samples are averaged."""
        p, options = request.parameters, request.options
        n = options.supersampling or 1
        if n == 1:
            return p, options
        known = self._enlarged.setdefault(p, {})
        if n not in known:
            known[n] = enlarged_parameters(p, n)
        return known[n], enlarged_options(options)

    def _chunk(self, request: _Request, first: int, count: int) -> pipeline.Chunk:
        """A chunk with the buffers of its size, ready to be drawn."""
        chunk = self._held_chunk(request, first, count)
        self._prepare(chunk, crop_box(chunk.options, chunk.parameters.image_size))
        return chunk

    def _held_chunk(self, request: _Request, first: int, count: int) -> pipeline.Chunk:
        """The same, with whatever the buffers hold."""
        p, options = self._drawn(request)
        key = _workspace_key(p, crop_box(options, p.image_size), count, request.blended is not None)
        work, launcher = self._workspace(self._scene_arrays(request.scene), key)
        return self._assemble(request, work, launcher, first, count)

    def _assemble(
        self, request: _Request, work: Workspace, launcher: Launcher, first: int, count: int
    ) -> pipeline.Chunk:
        p, options = self._drawn(request)
        images = pipeline.slice_views(request.images, first, count, p.num_views)
        target = None
        if options is not request.options:
            target = Target(request.images.supersampling, request.parameters, images)
            if work.samples is None or work.samples[0] != (options, p):
                made = self._new_images(p, options, work.key.width, work.key.height, count)
                work.samples = ((options, p), made)
            images = work.samples[1]
        arrays = self._scene_arrays(request.scene)
        blended = request.blended and request.blended.views(first, count)
        return pipeline.Chunk(arrays, p, options, work, launcher, images, first, count, target, blended)

    def _workspace(self, arrays: SceneArrays, key: WorkspaceKey) -> tuple[Workspace, Launcher]:
        found = self._workspaces.get((arrays, key))
        if found is None:
            # Graphs of the caller's point into the buffers that they were captured with.
            free = [k for k, (work, _) in self._workspaces.items() if work.contents.trusted]
            if len(free) >= _MAX_CACHED:
                self._workspaces.pop(free[0])
            found = Workspace(arrays, key, self.device), Launcher(self.device)
            self._workspaces[arrays, key] = found
        return found

    def _prepare(self, c: pipeline.Chunk, box: tuple[int, int, int, int]) -> bool:
        """Rays, viewports, places and normals, unless they were made of what the parameters hold now.

        Returns:
            Whether the kind of lens or of surface is another one, so that other kernels draw.
        """
        w, p = c.work, c.parameters
        w.token = None
        if w.box != box:
            w.viewports.assign([viewport(*box)] * c.views)
            w.box = box
        before = w.ideal_positions is not None, w.reshaped
        if c.launcher.capturing:
            w.contents.distrust()
        elif w.contents.changed("camera_models", p.camera_models):
            bent = bool(np.any(p.camera_models.numpy() != 0))
            if bent != before[0]:
                shape = w.rays.shape if bent else (0, 0, 0)
                w.ideal_positions = wp.zeros(shape, dtype=wp.vec2, device=self.device) if bent else None
            w.contents.forget("intrinsics")
        if c.target is not None:
            enlarge(c.launcher, c.target, p)
        if w.contents.changed("intrinsics", p.intrinsics):
            arguments = [p.intrinsics, p.camera_models, w.rays, w.ideal_positions]
            c.launcher.run("rays", intrinsics.cast_rays, w.rays.shape, arguments)
        if w.contents.changed("vertices", p.vertices):
            pipeline.join_vertices(c)
            pipeline.smooth_normals(c)
            known = self.device.is_cpu and w.contents.trusted
            w.reshaped = not known or not np.array_equal(p.vertices.numpy(), c.arrays.topology.rest)
        return before != (w.ideal_positions is not None, w.reshaped)

    def _record(self, request: _Request, width: int, height: int) -> None:
        tape = active_tape()
        p, blended = request.parameters, request.blended
        given = [blended.sampled] if blended is not None and blended.sampled.requires_grad else []
        if tape is None or not (p.requires_grad or given):
            return
        arrays = [getattr(p, name) for name in sorted(p.requires_grad)] + given
        arrays += list(_float_images(request.images).values()) if blended is None else [blended.image]
        tape.record_func(lambda: self._backward(request, width, height), [a for a in arrays if a.size > 0])

    def _backward(self, request: _Request, width: int, height: int) -> None:
        with self._lock:
            self._pull_back(request, width, height)

    def _pull_back(self, request: _Request, width: int, height: int) -> None:
        images, total = request.images, request.parameters.num_views
        grads = Images(**{name: a.grad for name, a in _float_images(images).items()})
        for first, count in self._chunks(request, width, height):
            chunk = self._held_chunk(request, first, count)
            # A graph that somebody else replays writes into the buffers, unseen.
            unseen = not chunk.work.contents.trusted and not chunk.launcher.capturing
            if chunk.work.token != (images, first) or unseen:
                chunk = self._chunk(request, first, count)
                pipeline.draw(chunk)
                chunk.work.token = (images, first)
            pull_back(chunk, chunk.results, pipeline.slice_views(grads, first, count, total))


_SCENE_HINT = ": Scene([Instance(model, T_cam_obj), ...])"


def _check_types(scene: Scene, parameters: SceneParameters | Camera, options: RenderOptions | None) -> None:
    check_type(scene, Scene, "scene", _SCENE_HINT)
    check_type(parameters, (SceneParameters, Camera), "parameters")
    if options is not None:
        check_type(options, RenderOptions, "options")


def _workspace_key(p: SceneParameters, box: tuple, views: int, blends: bool = False) -> WorkspaceKey:
    return WorkspaceKey(
        views, p.intrinsics.shape[0], box[2], box[3], *p.image_size, p.light_directions.shape[0], blends
    )


def _float_images(images: Images) -> dict[str, wp.array]:
    return {name: a for name, a in images.arrays().items() if a.requires_grad}


def render(
    scene: Scene,
    camera: Camera | Sequence[Camera] | SceneParameters,
    T_world_cam: ArrayLike | None = None,
    options: RenderOptions | None = None,
    device: wp.DeviceLike = None,
) -> Images:
    """Draw a scene with a renderer that the thread's current session keeps for each device.

    Args:
        scene: What to draw.
        camera: One or more cameras, or parameters that carry gradients.
        T_world_cam: Poses of the cameras in the scene; None: the scene frame is the camera frame.
        options: Which images, with or without antialiasing.
        device: Warp device; None: the default one.

    Returns:
        The images of all views.

    Raises:
        TypeError, ValueError: See `Renderer.parameters` and `Renderer.render`.
    """
    check_type(scene, Scene, "scene", _SCENE_HINT)
    name = str(wp.get_device(device))
    with current_session() as session:
        renderer = session.scratch(session, "renderer", name, lambda: Renderer(name))
        if isinstance(camera, SceneParameters):
            return renderer.render(scene, camera, options)
        return renderer.render(scene, renderer.parameters(scene, camera, T_world_cam), options)
