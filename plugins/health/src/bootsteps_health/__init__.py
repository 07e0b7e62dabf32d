"""Whether a worker lives, is ready and has started. Nothing is imported here: a probe comes by every few seconds."""
