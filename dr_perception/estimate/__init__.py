"""Solvers: Levenberg-Marquardt for batches of poses on the device, first-order descent for image losses.

The second-order solver decides on the true robust objective, priors included, without waiting for the host;
the first-order one fits any parameter of the renderer.
"""
