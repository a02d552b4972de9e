"""The version, alone: who writes it into a file need not import the package's public face."""

__version__ = "0.1.0"
