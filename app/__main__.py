"""`ricercar`: the window when there is nothing but perhaps a file to open, the command line otherwise."""

from __future__ import annotations

import sys


def main(argv: list[str] | None = None) -> int:
    """Run with these arguments (those of the process by default); returns the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    from engine import cli

    if cli.is_command(arguments):
        return cli.main(arguments)
    from app import startup

    return startup.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
