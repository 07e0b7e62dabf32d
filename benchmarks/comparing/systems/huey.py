"""Huey with processes, which is its fastest way; it acknowledges nothing, so a crash loses what is in flight."""

from comparing.systems.base import System

SYSTEMS = (
    System(
        name="huey",
        title="Huey, processes",
        environment="huey",
        app="huey_app",
        module="huey",
        brokers=("redis", "sqlite"),
        worker=("huey_consumer", "huey_app.huey", "-k", "process", "-w", "2", "-q"),
        help=("huey_consumer", "--help"),
    ),
)
