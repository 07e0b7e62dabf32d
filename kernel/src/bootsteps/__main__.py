"""`python -m bootsteps` is `kernel`."""

from bootsteps.program import main

main()
