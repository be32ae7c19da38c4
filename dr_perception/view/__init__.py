"""The tracker's small render of one body, and the surface and contour samples that it yields."""
