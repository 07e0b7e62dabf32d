"""A pool of child processes: the step `Pool` for `-P prefork`."""
