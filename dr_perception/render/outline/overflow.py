"""What a graph does about an outline that has outgrown its room: it spoils its images, which tells."""

import warp as wp

_NAN = wp.constant(wp.NAN)


@wp.struct
class Spoiled:
    """Images that are blended over the outline; those that are not are empty."""

    silhouette: wp.array3d[float]
    soft: wp.array3d[float]
    depth: wp.array3d[float]
    color: wp.array3d[wp.vec3]
    normal: wp.array3d[wp.vec3]


@wp.kernel(enable_backward=False)
def spoil(
    candidate_count: wp.array[int],
    piece_count: wp.array[int],
    room: int,
    span: int,
    # output
    images: Spoiled,
):
    """Fill images that lack pieces with NaN; empty images are skipped, ``span`` pixels of a row a thread."""
    view, y, strip = wp.tid()
    if candidate_count[0] <= room and piece_count[0] <= room:
        return
    x = strip * span
    last = x + span
    while x < last:
        if x < images.silhouette.shape[2]:
            images.silhouette[view, y, x] = _NAN
        if x < images.soft.shape[2]:
            images.soft[view, y, x] = _NAN
        if x < images.depth.shape[2]:
            images.depth[view, y, x] = _NAN
        if x < images.color.shape[2]:
            images.color[view, y, x] = wp.vec3(_NAN)
        if x < images.normal.shape[2]:
            images.normal[view, y, x] = wp.vec3(_NAN)
        x += 1


@wp.kernel(enable_backward=False)
def spoil_numbers(
    candidate_count: wp.array[int],
    piece_count: wp.array[int],
    room: int,
    # output
    image: wp.array4d[float],
):
    """The same for an image with any numbers a pixel."""
    view, y, x = wp.tid()
    if candidate_count[0] <= room and piece_count[0] <= room:
        return
    for k in range(image.shape[3]):
        image[view, y, x, k] = _NAN
