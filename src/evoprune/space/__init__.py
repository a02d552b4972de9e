"""What of a model may be pruned, and how genomes name a choice."""
