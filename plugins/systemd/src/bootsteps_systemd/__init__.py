"""The worker tells systemd how it is."""
