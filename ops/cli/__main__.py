"""`python -m ops.cli`: the command where its script is not installed."""

from ops.cli import main

main()
