"""A render as a captured graph: everything that a frame launches, forward and backward, in one call.

On a CUDA device this is a CUDA graph, on a CPU Warp's own replay loop. Nothing is allocated or looked up on
replay, and the results are those of `Renderer.render` and ``tape.backward``, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import warp as wp

from dr_perception.device.recording import capture
from dr_perception.render import pipeline
from dr_perception.render.backward import pull_back
from dr_perception.render.scene.checks import check_finite
from dr_perception.render.scene.images import Images

Loss = Callable[[Images], wp.array]
"""Launches kernels that make a scalar of the images, as `dr_perception.losses` do; must not wait for them."""


class CapturedRender:
    """Draws one scene again and again into the same images; made by `Renderer.capture`.

    Owns its buffers, so that other renders may come in between. Poses, materials, lights and whatever else
    the parameters hold are read at every replay: write new values into the same arrays
    (``parameters.pose.assign``). What is fixed are the arrays, their sizes and the options.

    On a CPU the graph leaves out what is made of vertices, intrinsics and the kind of lens: before every
    replay their bytes are compared with those of the last one, and what has changed is made again. Elsewhere
    the graph makes it every time, and the kind of lens stays as it was.

    Attributes:
        images: The images that are drawn into; gradients of the loss go to their ``grad``.
        loss: Value of the loss after `step`, None without one.
    """

    def __init__(
        self,
        chunk: pipeline.Chunk,
        refresh: Callable[[], bool],
        loss: Loss | None,
        differentiable: bool,
    ) -> None:
        """Run once and capture; called by `Renderer.capture`.

        Args:
            chunk: All views, with a workspace and a launcher of its own.
            refresh: Makes what is made of parameters before anything is drawn, unless they are as they were;
                returns whether other kernels must be captured.
            loss: What runs between the two passes of `step`.
            differentiable: Whether there is a backward pass.
        """
        self.images = chunk.results
        self.loss: wp.array | None = None
        self._chunk, self._refresh, self._evaluate = chunk, refresh, loss
        self._differentiable = differentiable
        grads: dict[str, Any] = {name: _grad(image) for name, image in chunk.results.arrays().items()}
        self._grads = replace(chunk.results, **grads)
        self._tape: wp.Tape | None = None
        self._forward_eager()
        if differentiable:
            self._backward_eager()
        if self._has_step:
            self._step_eager()
        self._capture()

    def draw(self) -> Images:
        """Draw into `images`.

        Raises:
            ValueError: Positions, poses or intrinsics are not finite, which a CPU alone tells.
        """
        self._look(self._forward_eager)
        self._forward()
        self._settle(self._forward_eager)
        return self.images

    def pull_back(self) -> None:
        """Add what ``images.<name>.grad`` hold to the gradients of the parameters; `draw` comes first.

        Raises:
            RuntimeError: The parameters have no gradients.
        """
        if self._backward is None:
            raise RuntimeError("nothing to go back to: no parameter was made with requires_grad")
        self._backward()

    def step(self) -> Images:
        """Set gradients to zero, draw, evaluate the loss and pull it back to the parameters, in one graph.

        Raises:
            RuntimeError: The render was captured without a loss, or the parameters have no gradients.
            ValueError: As `draw`.
        """
        if self._step is None:
            raise RuntimeError("step needs capture(..., loss=...) and parameters made with requires_grad")
        self._look(self._step_eager)
        self._step()
        self._settle(self._step_eager)
        return self.images

    @property
    def _has_step(self) -> bool:
        return self._evaluate is not None and self._differentiable

    def _capture(self) -> None:
        device = self._chunk.work.device
        self._chunk.work.fit_captured_room()
        self._forward = capture([self._forward_eager], device)
        self._backward = capture([self._backward_eager], device) if self._differentiable else None
        self._step = capture([self._step_eager], device) if self._has_step else None

    def _look(self, again: Callable[[], None]) -> None:
        """Bring up to date what the graph does not make; only a CPU looks at parameters for nothing."""
        if self._chunk.work.device.is_cpu and self._refresh():
            again()
            self._capture()

    def _settle(self, again: Callable[[], None]) -> None:
        """Run again and capture anew if the outline outgrew its room, which only a CPU tells for nothing."""
        if self._chunk.work.is_astray():
            check_finite(self._chunk.parameters)
        if self._chunk.wants_outline and self._chunk.work.outgrown():
            again()
            self._capture()

    def _forward_eager(self) -> None:
        if not (self._chunk.work.device.is_cpu and self._chunk.launcher.capturing):
            self._refresh()
        pipeline.draw(self._chunk)

    def _backward_eager(self) -> None:
        pull_back(self._chunk, self.images, self._grads)

    def _step_eager(self) -> None:
        assert self._evaluate is not None
        self._chunk.asked.zero_grad()
        own = list(self._grads.arrays().values())
        for grad in own:
            grad.zero_()
        self._forward_eager()
        tape = wp.Tape()
        with tape:
            self.loss = self._evaluate(self.images)
        tape.backward(self.loss)
        self._backward_eager()
        kept = {grad.ptr for grad in own}
        for grad in tape.gradients.values():
            if grad.ptr not in kept:
                grad.zero_()  # what the loss left between its kernels must not be there the next time
        self._tape = tape  # keeps the arrays of the loss, which the graph points into


def _grad(image: wp.array | None) -> wp.array | None:
    return image.grad if image is not None and image.requires_grad else None
