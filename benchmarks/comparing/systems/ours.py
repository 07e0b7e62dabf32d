"""Ours: the workspace of this checkout."""

from comparing.systems.base import System

SYSTEMS = (
    System(
        name="ours",
        title="ours",
        environment="ours",
        app="ours_app",
        module="bootsteps_worker",
        brokers=("redis", "amqp", "sqlite"),
        worker=("kernel", "-A", "ours_app", "worker", "-c", "2", "-n", "{node}@%h"),
        help=("kernel", "worker", "--help"),
        version=("kernel", "--version"),
        queues=("celery",),
    ),
)
