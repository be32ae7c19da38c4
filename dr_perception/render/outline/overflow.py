"""What a graph does about an outline that has outgrown its room: it spoils its images, which tells."""

import warp as wp

_NAN = wp.constant(wp.NAN)


@wp.kernel(enable_backward=False)
def spoil(
    candidate_count: wp.array[int],
    piece_count: wp.array[int],
    room: int,
    span: int,
    # output
    silhouette: wp.array3d[float],
    soft: wp.array3d[float],
    depth: wp.array3d[float],
    color: wp.array3d[wp.vec3],
    normal: wp.array3d[wp.vec3],
):
    """Fill images that lack pieces with NaN; empty images are skipped, ``span`` pixels of a row a thread."""
    view, y, strip = wp.tid()
    if candidate_count[0] <= room and piece_count[0] <= room:
        return
    x = strip * span
    last = x + span
    while x < last:
        if x < silhouette.shape[2]:
            silhouette[view, y, x] = _NAN
        if x < soft.shape[2]:
            soft[view, y, x] = _NAN
        if x < depth.shape[2]:
            depth[view, y, x] = _NAN
        if x < color.shape[2]:
            color[view, y, x] = wp.vec3(_NAN)
        if x < normal.shape[2]:
            normal[view, y, x] = wp.vec3(_NAN)
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
