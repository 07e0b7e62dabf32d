"""The timer of the worker: the step `Timer`."""
