"""`python -m bootsteps` is `kernel`."""

from bootsteps.cli import main

main()
