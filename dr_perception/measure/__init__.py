"""Rows of least-squares problems, one module a modality, reduced to normal equations where they are made.

A row is a residual, its derivative with respect to a pose and its variance. Depth and outline rows are Warp
kernels that add ``J^T W J``, ``J^T W r`` and the robust cost of every sample; nothing is stored per row.
"""
