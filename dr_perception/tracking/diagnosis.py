"""What is wrong with models, calibration and depth, as far as many frames and objects together say it.

Every few frames the rows of an object are reduced to what they say of errors that all frames share
(`dr_perception.measure.considered`). They add up here; the mixture over which error is there widens every
covariance by what is open, and names what is significant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dr_perception.estimate.consider import Elimination, Message
from dr_perception.estimate.finding import Finding
from dr_perception.estimate.mixture import EVERY, Case, Mixture, Plan, Weighted
from dr_perception.hypothesis.config import BodyConfig
from dr_perception.hypothesis.errors import GROUPS, Displacement, error_model, message_of, response_of
from dr_perception.measure.config import SensorConfig
from dr_perception.measure.consider import NUM_PARAMETERS
from dr_perception.measure.considered import WEAK, Considered, Sums
from dr_perception.tracking.registration import Registration

Array = NDArray[np.float64]

_SURE = 0.95
_DOUBT = 0.5
"""Probability of nothing being gross below which every pose is asked what errors do to it, for 0.2 ms."""
_EXPLAINS = 0.7
"""Share of the evidence for errors of all kinds together that one kind must bring to be named."""
_UNEXPLAINED = 1.2
"""Multiple of the squared residuals that noise explains: at most 0.9 where all is right, 1.1 to 11 with
models of which 60 % are missing (`benchmarks/honesty.py`)."""
_CLEARLY = 3.0
"""Standard deviations of that multiple beyond which it is no chance."""
_FEWEST_ROWS = 60.0
_OPEN_SHARE, _FEWEST_OPEN = 0.05, 10.0
"""Share of contour points, and how many, at which an object must go on for its model to be incomplete."""
_DISTURBS = 0.07
"""Share of what errors leave in the rows, in squared standard deviations, that disturbs a pose like one row.

To first order a pose does not feel what no pose can explain; through weights and pairs it does. On scenes 1
to 3 and 5, with scales of 3 %, a focal length of 2 %, shifts of 2 pixels and delays of 15 ms, the NEES a
degree of freedom from frame 20 on is 1.4 to 3.6 with 0, 0.8 to 2.0 with 0.05, 0.6 to 1.5 with 0.1.
"""
_RELINEARIZED = 12.0
"""How fast what was said fades as the parameters, by which outliers are told, move on from where it was said.

Per mean square of the move in the rows, in squared standard deviations.
"""
_MIRRORED, _MOST_A_FRAME, _FEWEST_COMPARED = 4.0, 5.0, 3
"""Mean log likelihood ratio at which a model is called mirrored, what one frame may count, and the fewest.

The mean, since what disturbs a pattern is the same from frame to frame: sums named a bracket of another size
mirrored after 72 frames of a few hundredths each.
"""
_ALIKE = 0.1
"""A case this much less probable than the best is still named with it."""
_SUBJECT = {"focal_length": "camera"}
_TEXT = {
    "model_scale": ("the model should be larger by", 1.0e2, "%"),
    "focal_length": ("the focal length is larger than stated by", 1.0e2, "%"),
    "depth_bias": ("depths are too large by", 1.0e3, "mm"),
    "depth_scale": ("depths are too large by", 1.0e2, "%"),
    "depth_shift": ("the depth image is shifted against the colour image by", 1.0, "px"),
    "depth_delay": ("the depth is older than the colour by", 1.0e3, "ms"),
    "model_surface": ("the surface of the model is off by up to", 1.0e3, "mm"),
}


@dataclass
class _Said:
    """What the frames of one object said so far."""

    message: Message
    """Of the parameters."""
    elimination: Elimination
    """What that says of the camera's."""
    errors: Weighted
    """What is known of the parameters."""
    chi2: float = 0.0
    """Squared residuals that a pose for every frame leaves, in standard deviations of noise."""
    rows: float = 0.0
    """Independent rows less the unknowns of the poses."""
    lines: float = 0.0
    """Contour points that were looked at."""
    open_lines: float = 0.0
    """Those at which the object goes on where its model ends."""
    mirrored: float = 0.0
    """Log likelihood ratio of the pattern of the mirrored model against that of the model, of all frames."""
    compared: int = 0
    """How many these are."""
    ratio: float = 1.0
    """Squared residuals that they leave, as a multiple of noise."""
    at: Array | float = 0.0
    """Parameters (T,) by which outliers were told when this was said."""

    def take(self, sums: Sums, at: Array | float, taken_out: Array) -> None:
        """Add a frame, with the pose eliminated.

        Args:
            sums: What it says of what is left of the parameters.
            at: Those (T,) by which outliers were told.
            taken_out: Of those, what the frame did not show any more.
        """
        self._relinearize(at)
        left = message_of(sums)
        self.message = self.message + Message(left.L, left.b + left.L @ taken_out)
        # Squared residuals of what was taken out would have been there as well.
        self.chi2 += 2.0 * float(left.b @ taken_out) + float(taken_out @ left.L @ taken_out)
        self.chi2 += sums.chi2 - float(sums.g @ np.linalg.solve(sums.H + WEAK, sums.g))
        self.rows += sums.rows - 6.0

    def _relinearize(self, at: Array | float) -> None:
        """Let what was said elsewhere fade, since other rows would be outliers now.

        Rows that an error disturbs most count least while it is not known, so that it seems smaller than it
        is. What noise moves the estimate by takes nothing away.
        """
        move = np.broadcast_to(at, self.message.b.shape) - self.at
        moved = float(move @ self.message.L @ move) / max(self.rows, 1.0)
        kept = 1.0 / (1.0 + _RELINEARIZED * max(moved, 0.0))
        self.message = Message(kept * self.message.L, kept * self.message.b)
        self.chi2, self.rows, self.at = kept * self.chi2, kept * self.rows, at

    def unexplained(self, theta: Array) -> float:
        """What parameters (T,) leave of the squared residuals, as a multiple of what noise would.

        The ratio of Birge (1932): above one, something is wrong that they do not describe.
        """
        explained = 2.0 * self.message.b @ theta - theta @ self.message.L @ theta
        return float((self.chi2 - explained) / max(self.rows, 1.0))


class Diagnosis:
    """Accumulates what frames say, for all objects of one camera.

    Attributes:
        findings: What is significant now.
        has_doubts: Whether it is worth to ask of every pose what the errors do to it.
        registration: What of the errors is taken out of the frames.
    """

    def __init__(self, sensor: SensorConfig, body: BodyConfig) -> None:
        """Nothing was measured yet."""
        self._model = error_model(sensor, body)
        self._nothing = Message.nothing(NUM_PARAMETERS)
        self._expected = self._model.of_one(self._nothing)
        self._plan = Plan(self._model, [])
        self._said: dict[str, _Said] = {}
        self._wrong: dict[str, tuple[Finding, ...]] = {}
        self.findings: tuple[Finding, ...] = ()
        self.has_doubts = False
        self.registration = Registration()

    def add(
        self,
        name: str,
        considered: Considered,
        prior: Array,
        contour: tuple[float, float],
        at: Array | None = None,
    ) -> Displacement:
        """Take in what a frame, `registration.corrected`, says of an object's errors.

        Args:
            name: The object.
            considered: Its rows at the pose that was found.
            prior: Information (6, 6) of the prior that the pose was fitted with.
            contour: How many contour points there were, and at how many of them the object went on.
            at: Parameters (T,) by which outliers among the rows were told; none if None.

        Returns:
            How the errors may displace that pose.
        """
        if name not in self._said:
            self._said[name] = _Said(self._nothing, self._model.eliminate(self._nothing), self._expected)
            self._plan = Plan(self._model, list(self._said))
        said = self._said[name]
        said.lines += contour[0]
        said.open_lines += contour[1]
        taken_out = self.registration.taken_out
        said.take(considered.far, taken_out + (0.0 if at is None else at), taken_out)
        said.elimination = self._model.eliminate(said.message)
        mixture = Mixture(self._plan, [one.elimination for one in self._said.values()])
        self.has_doubts = bool(mixture.probabilities[0] < _DOUBT)
        said.errors = mixture.of_body(name)
        said.ratio = said.unexplained(said.errors.mean)
        self.registration.learn(said.errors)
        self._look_at_model(name)
        of_models = [finding for found in self._wrong.values() for finding in found]
        self.findings = (*self._named(mixture), *of_models)
        return self.of_pose(name, considered.used, prior)

    def compare_mirrored(self, name: str, log_ratio: float) -> None:
        """Take in what a frame says of the pattern of a mirrored model against that of the model."""
        said = self._said[name]
        said.compared += 1
        said.mirrored += float(np.clip(log_ratio, -_MOST_A_FRAME, _MOST_A_FRAME))

    def estimate(self, name: str) -> Array | None:
        """What is left of an object's parameters (T,) by now; None while no error is probable."""
        if not self.has_doubts or name not in self._said:
            return None
        return self._said[name].errors.mean - self.registration.taken_out

    def of_pose(self, name: str, used: Sums, prior: Array) -> Displacement:
        """How errors may displace the pose that rows were fitted to.

        Args:
            name: The object.
            used: Sums of the rows.
            prior: Information (6, 6) of the prior that the pose was fitted with.
        """
        said = self._said.get(name)
        errors, ratio = (self._expected, 1.0) if said is None else (said.errors, max(said.ratio, 1.0))
        errors = errors.without(self.registration.taken_out)
        displacement = Displacement.by(used, prior, errors)
        unexplained = ratio - 1.0 + _DISTURBS * left_in_rows(used, prior, errors.second_moment)
        gain = np.linalg.solve(used.H + prior + WEAK, used.H)
        return displacement.widened(ratio, unexplained * gain @ row_variance(used) @ gain.T)

    def forget(self, name: str) -> None:
        """An object is another one from now on, or gone."""
        self._said.pop(name, None)
        self._wrong.pop(name, None)
        self._plan = Plan(self._model, list(self._said))
        if not self._said:
            self.findings, self.has_doubts = (), False

    def _look_at_model(self, name: str) -> None:
        """Say that a model is incomplete, or wrong in a way that no error of the others explains."""
        said = self._said[name]
        found = []
        if said.open_lines > max(_OPEN_SHARE * said.lines, _FEWEST_OPEN):
            share = said.open_lines / said.lines
            sigma = float(np.sqrt(share * (1.0 - share) / said.lines))
            text = f"the object goes on beyond {100.0 * share:.0f} % of its model's outline: the mesh is open"
            found.append(Finding(name, "model_incomplete", share, sigma, text))
        error = float(np.sqrt(2.0 / max(said.rows, 1.0)))
        if said.ratio > _UNEXPLAINED + _CLEARLY * error and said.rows > _FEWEST_ROWS:
            text = (
                f"depth and outlines disagree with the model by {np.sqrt(said.ratio):.1f} times their noise, "
                f"and no error of size, calibration or registration explains it"
            )
            found.append(Finding(name, "model_wrong", said.ratio, error, text))
        if said.compared >= _FEWEST_COMPARED and said.mirrored > _MIRRORED * said.compared:
            text = (
                "the pattern that is seen is that of the mirrored model: an axis was flipped on the way here"
            )
            found.append(Finding(name, "model_mirrored", said.mirrored / said.compared, 0.0, text))
        self._wrong[name] = tuple(found)

    def _named(self, mixture: Mixture) -> tuple[Finding, ...]:
        """The error that is there, with those that the data cannot tell from it."""
        p, evidence = mixture.probabilities, mixture.log_evidence - mixture.log_evidence[0]
        if p[0] > 1.0 - _SURE:
            return ()
        single = np.array([k for k, case in enumerate(mixture.cases) if case.group is not None])
        best = single[np.argmax(evidence[single])]
        if evidence[best] < _EXPLAINS * evidence[-1]:
            return ()  # no single error accounts for what all together do
        alike = [k for k in single if evidence[k] > evidence[best] + np.log(_ALIKE)]
        alike.sort(key=lambda k: -evidence[k])
        return (self._finding(mixture, [mixture.cases[k] for k in alike]),)

    def _finding(self, mixture: Mixture, cases: Sequence[Case]) -> Finding:
        case = cases[0]
        assert case.group is not None
        body = case.body if case.body in self._said else next(iter(self._said))
        found = mixture.component(case, body)
        chosen = list(case.group.parameters)
        sigma = np.sqrt(found.covariance.diagonal()[chosen])
        k = int(np.argmax(np.abs(found.mean[chosen]) / sigma))
        value, error = float(found.mean[chosen][k]), float(sigma[k])
        named = {c.group.kind for c in cases if c.group is not None}
        kinds = [group.kind for group in GROUPS if group.kind in named]
        words, scale, unit = _TEXT[case.group.kind]
        text = f"{words} {scale * value:.2f} +- {scale * error:.2f} {unit}"
        if len(kinds) > 1:
            others = ", ".join(kind for kind in kinds if kind != case.group.kind)
            text += f"; the images do not tell this from an error of {others}"
        subject = case.body or _SUBJECT.get(case.group.kind, "depth")
        if subject == EVERY:
            subject, text = "models", f"of all models: {text}"
        return Finding(subject, "|".join(kinds), value, error, text)


def left_in_rows(used: Sums, prior: Array, moment: Array) -> float:
    """Mean square of what errors with a second moment (T, T) leave in a fitted pose's rows, in sigmas."""
    S = used.H_tt - used.H_xt.T @ response_of(used, prior)
    return max(float(np.sum(S * moment)) / max(used.rows, 1.0), 0.0)


def row_variance(sums: Sums) -> Array:
    """Covariance (6, 6) of a pose that a single row of the mean variance would give: no averaging at all.

    For what disturbs neighbouring rows in the same way.
    """
    move, turn = np.trace(sums.H[:3, :3]), np.trace(sums.H[3:, 3:])
    variances = np.repeat([3.0 * sums.rows / max(move, 1.0e-9), 3.0 * sums.rows / max(turn, 1.0e-9)], 3)
    return np.diag(np.minimum(variances, WEAK.diagonal() ** -1.0))
