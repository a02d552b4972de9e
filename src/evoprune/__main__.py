"""`python -m evoprune`: the same as the `evoprune` command."""

from __future__ import annotations

from evoprune.cli.app import main

if __name__ == "__main__":
    main()
