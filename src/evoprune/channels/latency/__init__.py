"""Measuring the latency of layers and networks at the widths that pruning leaves them."""
