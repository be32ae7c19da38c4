"""How an object uses to move, learned while it is seen, and where it may be after a while unseen.

The prior of a refinement must reach whatever an object may do, 20 mm from one frame to the next. As a claim
of where an object is that was not seen for ten frames that is far too wide: things that hands move go on as
they went, to some millimetres. How far they do is learned from how far off predictions were.

In the six reference scenes errors of a constant velocity grow as the sum of its changes, by 1, 3, 6, 14 and
45 to 50 over 1, 2, 3, 5 and 10 frames (1, 3, 6, 15, 55), from 0.7 to 2 mm and 0.1 to 0.3 degrees.
"""

import warp as wp

wp.set_module_options({"max_unroll": 1})

_GAIN = wp.constant(wp.float64(0.2))
"""Weight of the newest motion: some ten frames are remembered."""


@wp.struct
class Pace:
    """Mean squares over a nominal period, of places [m^2] and turns [rad^2], summed over their three axes.

    surprise: of what the motion differs by from that of the period before. speed: of the motion. unseen:
    periods since the object was measured. rests: whether no velocity is known since.
    """

    surprise: wp.vec2d
    speed: wp.vec2d
    unseen: wp.float64
    rests: int


@wp.func
def growth(periods: wp.float64) -> wp.float64:
    """Times that a change of velocity in every period displaces what it does in one: 1, 3, 6, 10 ..."""
    return wp.float64(0.5) * periods * (periods + wp.float64(1.0))


@wp.func
def since_measured(pace: Pace) -> wp.vec2d:
    """Variances of each axis, of places and turns, that the time unseen adds.

    After a while the velocity has nothing to do any more with what it was, and cannot differ by more.
    """
    n = pace.unseen
    way = n * n * pace.speed
    off = wp.min(growth(n) * growth(n) * pace.surprise, wp.float64(2.0) * way)
    if pace.rests != 0:
        off += way
    return off / wp.float64(3.0)


@wp.func
def squares(u: wp.spatial_vectord) -> wp.vec2d:
    """Squared lengths of both parts of a tangent vector (v, w)."""
    v = wp.vec3d(u[0], u[1], u[2])
    w = wp.vec3d(u[3], u[4], u[5])
    return wp.vec2d(wp.dot(v, v), wp.dot(w, w))


@wp.func
def learned(pace: Pace, moved: wp.spatial_vectord, off: wp.spatial_vectord) -> Pace:
    """Take in a measurement.

    Args:
        pace: What was known.
        moved: From the last measured pose.
        off: From the prediction; it tells nothing where no velocity was known.
    """
    n = wp.max(pace.unseen, wp.float64(1.0))
    pace.speed += _GAIN * (squares(moved) / (n * n) - pace.speed)
    if pace.rests == 0:
        pace.surprise += _GAIN * (squares(off) / (growth(n) * growth(n)) - pace.surprise)
    pace.unseen = wp.float64(0.0)
    return pace
