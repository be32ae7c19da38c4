"""Where the image jumps: visible pieces of edges, and what they change in the pixels they pass."""
