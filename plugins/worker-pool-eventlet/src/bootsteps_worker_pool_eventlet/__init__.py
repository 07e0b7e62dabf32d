"""A pool of greenlets: the step `Pool` for `-P eventlet`."""
