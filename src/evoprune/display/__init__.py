"""A run while it lasts, in a terminal and in a notebook: the only part of the library beside `cli/` that writes to them."""
