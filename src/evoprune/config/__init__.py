"""The configuration: what can be set, checked and written down. Only `run/factories`, the API and the command line know it."""
