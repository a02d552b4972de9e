"""What runs a network when its latency is measured."""
