"""`python -m rounds` is the command `rounds`."""

from rounds.cli import main

main()
