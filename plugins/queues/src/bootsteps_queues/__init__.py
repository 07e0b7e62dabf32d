"""Tools for what is in a broker."""
