"""Brightness of an object's surface, learned while it is tracked, for models that bring no colours.

What the image shows at a pose that is believed is written to texels on the faces of the model, freed of the
light of the frame, so that the pattern of the first frames holds later ones in place: drift stops, and a turn
that shape does not show is seen. A texel is the mean of its sightings, the last ones weighing most. An object
whose brightness is explained by smooth shading, or on which the pattern does not move with the surface
(highlights), has no pattern, and its colours are not used.
"""

from __future__ import annotations

import numpy as np
import warp as wp

from dr_perception.body.appearance import BakedBrightness
from dr_perception.body.blank_texels import BlankTexels
from dr_perception.device.pose_arrays import PoseArrays
from dr_perception.device.recording import capture, record
from dr_perception.measure.frame_buffers import FrameBuffers
from dr_perception.measure.learned_brightness_kernels import (
    Learning,
    LearningRules,
    Texels,
    assess_pattern,
    learn_texels,
    slope_texels,
)
from dr_perception.view.model_view import ModelView

_PARTS = 6
"""A frame teaches every so-many-th of the texels that are known already."""


class BrightnessTexels:
    """Texels of one object, unknown (NaN) at first.

    Attributes:
        baked: The texels as surface samples read them.
        texels: The same with their places, as learning needs them.
        places: Where they lie, shared with other instances of the body.
    """

    def __init__(self, places: BlankTexels) -> None:
        """Allocate the brightness of texels that nobody saw."""
        count, device = len(places.points), places.points.device
        self.places = places
        self.baked = BakedBrightness()
        self.baked.layout = places.layout
        self.baked.brightness = wp.full(count, float("nan"), dtype=float, device=device)
        self.baked.gradient = wp.full(count, wp.vec3(float("nan")), dtype=wp.vec3, device=device)
        self.texels = Texels()
        self.texels.points = places.points
        self.texels.normals = places.normals
        self.texels.brightness = self.baked.brightness
        self.texels.sightings = wp.zeros(count, dtype=float, device=device)

    def forget(self) -> None:
        """Make all texels unknown again."""
        self.texels.brightness.fill_(np.nan)
        self.baked.gradient.fill_(np.nan)
        self.texels.sightings.zero_()


class LearnedBrightness:
    """Learns the texels of one object from frames in which its pose is believed.

    Attributes:
        enabled: Whether the pattern is worth comparing (1,), for `dr_perception.measure.color.fit_light`.
    """

    def __init__(
        self,
        texels: BrightnessTexels,
        view: ModelView,
        poses: PoseArrays,
        frame: FrameBuffers,
        hidden_m: float,
        least_contrast: float,
    ) -> None:
        """Record what a frame teaches.

        Args:
            texels: The texels that the samples of the view read.
            view: Where the samples are taken from.
            poses: Pose that is believed when `learn` is called.
            frame: The images.
            hidden_m: A depth that differs from the surface's by more belongs to something else.
            least_contrast: Levels of 255 by which brightness must scatter beyond shading to be a pattern.
        """
        device = frame.device
        self._frame, self._texels, self._view = frame, texels, view
        self.enabled = wp.zeros(1, dtype=int, device=device)
        self._state = wp.zeros(1, dtype=Learning, device=device)
        rules = LearningRules()
        rules.margin_m, rules.least_contrast, rules.parts = hidden_m, least_contrast, _PARTS
        seen = [poses.struct, frame.images, rules]
        outputs = [self._state, self.enabled]
        assess = record(assess_pattern, 1, [view.surface, *seen], outputs, device)
        count = texels.texels.points.shape[0]
        learn = record(learn_texels, count, [*seen, self._state], [texels.texels], device)
        inputs = [texels.places.neighbour, texels.places.weight, rules, self._state, texels.texels]
        slope = record(slope_texels, count, inputs, [texels.baked.gradient], device)
        self._assess = assess
        self._learn = capture([assess, learn, slope], device)

    def begin(self) -> None:
        """Forget everything and take the brightness seen at the current pose for the surface's own."""
        self._texels.forget()
        self._state.zero_()
        self.enabled.zero_()
        if self._frame.has_color and self._frame.has_depth:
            self._learn()
            self._view.render()  # so that the samples know what was learned
            self._assess()

    def take_over(self, other: LearnedBrightness) -> None:
        """Know the pattern that another one learned, of images of another size."""
        mine, theirs = self._texels, other._texels
        wp.copy(mine.texels.brightness, theirs.texels.brightness)
        wp.copy(mine.texels.sightings, theirs.texels.sightings)
        wp.copy(mine.baked.gradient, theirs.baked.gradient)
        wp.copy(self._state, other._state)
        wp.copy(self.enabled, other.enabled)

    def learn(self) -> None:
        """Learn from the frame at the current pose; without colour or depth it teaches nothing."""
        if self._frame.has_color and self._frame.has_depth:
            self._learn()
