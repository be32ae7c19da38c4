"""The ray caster, the reference of the renderer: shadows, and gradients at edges by sampling them."""
