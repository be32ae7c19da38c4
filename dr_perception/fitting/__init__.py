"""Poses of known objects in single frames: refinement of a guess, and a search with nothing to start from.

`fit_pose` is the entrance; `PoseRefiner` is the coarse-to-fine refinement that the tracker runs in every
frame, and `search_poses` the search by point pairs, views, and render-and-compare.
"""
