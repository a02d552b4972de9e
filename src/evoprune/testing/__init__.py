"""Testing: conformance suites for every seam, and a network small enough to evolve in a second."""
