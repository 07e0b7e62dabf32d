"""A pool without processes or threads: the step `Pool` for `-P solo`."""
