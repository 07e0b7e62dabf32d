"""For people at a prompt: `kernel shell` and `kernel completion`."""
