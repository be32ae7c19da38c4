# mypy: disable-error-code="valid-type, operator, index, assignment, no-untyped-def, return-value"
"""How well the colours of a model explain those of an image at a pose, patch by patch, whatever the light.

The pattern (`looks_kernels`) leaves out what the colour of a patch is: a blue can on a white bottle is none.
Brightness is left out, since exposure and shade are unknown: the colour of a patch is the logarithms of red
over green and of blue over green. A camera shows those of the model times one unknown factor (how saturated
it is, at least `_LEAST_SATURATION`) plus one unknown offset (its white balance), both the same for all
patches, plus noise. Something else shows one unknown colour and, around it, those of its patches. All are
Gaussian, so that the likelihood ratio of the two has a closed form (linear regression with a prior; Bishop
2006, 3.5). Their widths are the most likely ones of right poses and of wrong ones in real frames of YCB-V,
DexYCB, PoseCNN and MoreFusion.
"""

import warp as wp

wp.set_module_options({"max_unroll": 1})

_DARK = wp.constant(20.0)
"""Grey levels of 255 added before ratios are taken: below, noise and reflections colour a surface."""
_SATURATION = wp.constant(0.65)
"""Factor that cameras show colours with, and its standard deviation."""
_SATURATION_SIGMA = wp.constant(0.3)
_LEAST_SATURATION = wp.constant(0.2)
"""Below, colours are not the model's: with none a grey thing would be any, with less they are opposites."""
_BALANCE_SIGMA = wp.constant(0.2)
"""Of the offset of white balances, in logarithms like all below."""
_SIGMA = wp.constant(0.15)
"""Of a patch about that."""
_OTHER_SIGMA = wp.constant(0.28)
"""Of the colour of other things, and of their patches about it."""
_OTHER_PATCH_SIGMA = wp.constant(0.18)
_MOST = wp.constant(10.0)
"""Log likelihood ratio beyond which nothing is learned: a model's errors are shared by all patches."""


@wp.struct
class Palette:
    """Sums over patches: how many, colours of model and image, and their products."""

    count: float
    model: wp.vec2
    seen: wp.vec2
    model_squared: float
    seen_squared: float
    product: float


@wp.func
def color_ratios(color: wp.vec3) -> wp.vec2:
    """Logarithms of red and of blue over green, from 0 to 255 each."""
    green = color[1] + _DARK
    return wp.vec2(wp.log((color[0] + _DARK) / green), wp.log((color[2] + _DARK) / green))


@wp.func
def add_patch(palette: Palette, expected: wp.vec3, seen: wp.vec3) -> Palette:
    """Add the mean colours of a patch."""
    m = color_ratios(expected)
    s = color_ratios(seen)
    palette.count += 1.0
    palette.model += m
    palette.seen += s
    palette.model_squared += wp.dot(m, m)
    palette.seen_squared += wp.dot(s, s)
    palette.product += wp.dot(m, s)
    return palette


@wp.func
def palette_evidence(p: Palette) -> float:
    """Log likelihood ratio of the model's colours and those of something else; 0 without patches."""
    if p.count < 1.0:
        return 0.0
    n = p.count
    variance = _SIGMA * _SIGMA
    # The unknown factor and offsets: their information is `information` and `offsets` (a bordered diagonal).
    left = p.seen - _SATURATION * p.model
    left_squared = (
        p.seen_squared - 2.0 * _SATURATION * p.product + _SATURATION * _SATURATION * p.model_squared
    )
    offsets = n / variance + 1.0 / (_BALANCE_SIGMA * _BALANCE_SIGMA)
    pull = (p.product - _SATURATION * p.model_squared) / variance
    pull -= wp.dot(p.model, left) / (variance * variance * offsets)
    information = p.model_squared / variance + 1.0 / (_SATURATION_SIGMA * _SATURATION_SIGMA)
    information -= wp.dot(p.model, p.model) / (variance * variance * offsets)
    explained = wp.dot(left, left) / (variance * variance * offsets) + pull * pull / information
    short = wp.max(_LEAST_SATURATION - _SATURATION - pull / information, 0.0)
    own = left_squared / variance - explained + information * short * short + 2.0 * n * wp.log(variance)
    own += wp.log(information) + 2.0 * wp.log(offsets)
    own += 2.0 * wp.log(_SATURATION_SIGMA) + 4.0 * wp.log(_BALANCE_SIGMA)
    one = _OTHER_PATCH_SIGMA * _OTHER_PATCH_SIGMA
    shared = _OTHER_SIGMA * _OTHER_SIGMA
    total = one + n * shared
    other = (p.seen_squared - shared / total * wp.dot(p.seen, p.seen)) / one
    other += 2.0 * (n - 1.0) * wp.log(one) + 2.0 * wp.log(total)
    return wp.clamp(0.5 * (other - own), -_MOST, _MOST)
