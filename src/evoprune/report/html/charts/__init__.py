"""Charts as numbers: what is drawn where, for templates to write as SVG."""
