"""`python -m engine`: the command line without the window."""

from __future__ import annotations

import sys

from engine import cli

if __name__ == "__main__":
    sys.exit(cli.main(sys.argv[1:]))
