"""A pool of threads: the step `Pool` for `-P threads`."""
