"""Launches, device arrays, reductions and small solves: everything that touches Warp's runtime."""
