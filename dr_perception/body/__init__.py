"""Bodies that can be drawn and measured: mesh buffers, levels of detail, looks."""
