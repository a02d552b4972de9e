"""Follow labels of weights through one run of a model, operation by operation."""
