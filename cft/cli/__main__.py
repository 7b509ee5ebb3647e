"""``python -m cft.cli``: the same as the ``cft`` command."""

from cft.cli import main

main()
