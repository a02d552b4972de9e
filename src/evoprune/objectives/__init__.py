"""One number about one model each."""
