"""The event loop of the worker: the step `Hub`."""
