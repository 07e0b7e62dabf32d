"""`kernel multi`: several workers on one machine, started, stopped and restarted together."""
