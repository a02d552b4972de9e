"""How much every unit matters: one criterion per file, called through `scores.importance`."""
