"""Where a body might be: seeds, alternatives, their refinement and their ranking."""
