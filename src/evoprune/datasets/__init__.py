"""Data sets of images: where they come from, checked and kept in a cache."""
