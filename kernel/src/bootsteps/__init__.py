"""Compose a worker from steps that are found through entry points."""
