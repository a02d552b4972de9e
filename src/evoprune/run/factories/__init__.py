"""From configuration to runs: the one package of `run` that knows the configuration."""
