"""Ours beside its peers: the harness behind `./x bench`. See benchmarks/README.md."""
