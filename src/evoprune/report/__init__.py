"""Report: what people see of a run, made from its files. It listens and reads, and never steers."""
