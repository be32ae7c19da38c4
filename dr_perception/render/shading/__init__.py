"""What the surface looks like at a point of it: interpolation over a face, textures, material and light."""
