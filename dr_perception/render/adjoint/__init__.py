"""Derivatives beyond the adjoint of one stage: images straight to poses, shading beside outlines."""
