"""Whether an object is tracked, hidden or lost, how probable its pose is, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dr_perception.geometry.camera import Camera
from dr_perception.tracking.config import HealthConfig
from dr_perception.tracking.health import Agreement
from dr_perception.tracking.reasons import Extent, is_too_small, why_unlikely, why_unseen
from dr_perception.tracking.result import Status

_FADING = 0.9
"""Share of its score that an object keeps for every frame that does not show it."""


@dataclass(frozen=True)
class Standing:
    """What is known of an object's health after a frame; every frame makes a new one."""

    status: Status = Status.LOST
    score: float = 0.0
    """Probability that the images show the object at its pose and that the pose is right."""
    reason: str = "not started"
    """Why it is not tracked; empty if it is."""
    visible_fraction: float = 0.0
    """Share of measured surface samples that nothing nearer hides, in the newest frame that was measured."""
    bad_frames: int = 0
    """Frames in a row whose pose was not believed."""
    held_frames: int = 0
    """Frames in a row that brought no news."""

    def is_good(self, agreement: Agreement, config: HealthConfig) -> bool:
        """Whether a pose may be believed; of a lost object more is asked."""
        least = config.found_score if self.status is Status.LOST else config.good_score
        return agreement.support >= config.min_samples and agreement.score >= least

    def is_unexpected(self, config: HealthConfig) -> bool:
        """Whether the object was out of sight for so long that it may be anywhere."""
        return self.bad_frames + self.held_frames >= config.patience_frames

    def restarted(self, reason: str) -> Standing:
        """Time jumped: it is lost until it is found."""
        return replace(self, status=Status.LOST, reason=reason, bad_frames=0, held_frames=0)

    def held(self, reason: str, config: HealthConfig) -> Standing:
        """A frame brought no news."""
        held = self.held_frames + 1
        status = self._unseen(held >= config.occluded_patience_frames)
        return replace(self, status=status, score=self.score * _FADING, reason=reason, held_frames=held)

    def accepted(self, agreement: Agreement) -> Standing:
        """A pose is believed."""
        score = agreement.score * agreement.certainty
        return Standing(Status.TRACKING, score, "", agreement.visible_fraction)

    def rejected(
        self, agreement: Agreement, extent: Extent, camera: Camera, config: HealthConfig
    ) -> Standing:
        """A pose is not believed, because next to nothing of the object is seen or it disagrees."""
        hidden = is_hidden(agreement, extent, config)
        bad = self.bad_frames + 1
        lost = bad >= (config.occluded_patience_frames if hidden else config.patience_frames)
        if hidden:
            score, reason = self.score * _FADING, why_unseen(agreement, extent, camera)
            reason += f", for {bad} frames" if lost else ""
        else:
            score = min(agreement.score, self.score)
            reason = why_unlikely(agreement, extent, camera, config.min_samples)
        seen = agreement.visible_fraction
        return replace(
            self, status=self._unseen(lost), score=score, reason=reason, visible_fraction=seen, bad_frames=bad
        )

    def _unseen(self, lost: bool) -> Status:
        if lost:
            return Status.LOST
        return Status.OCCLUDED if self.status is Status.TRACKING else self.status


def is_hidden(agreement: Agreement, extent: Extent, config: HealthConfig) -> bool:
    """Whether next to nothing of an object was measured."""
    unseen = agreement.visible_fraction < config.min_visible_fraction or agreement.samples == 0
    return unseen or is_too_small(extent)
