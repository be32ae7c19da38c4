"""Stages of rasterisation that the tracker's view and the differentiable renderer share."""
