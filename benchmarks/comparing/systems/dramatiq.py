"""Dramatiq: the default threads, and two threads a process with a larger window."""

from comparing.systems.base import System

_HELP, _VERSION = ("dramatiq", "--help"), ("dramatiq", "--version")
_BROKERS = ("redis", "amqp")
_QUEUES = ("default", "default.DQ", "default.XQ")

SYSTEMS = (
    System(
        name="dramatiq",
        title="Dramatiq",
        environment="dramatiq",
        app="dramatiq_app",
        module="dramatiq",
        brokers=_BROKERS,
        worker=("dramatiq", "dramatiq_app", "-p", "2"),
        help=_HELP,
        version=_VERSION,
        one_at_a_time=("-t", "1"),
        queues=_QUEUES,
    ),
    System(
        name="dramatiq-tuned",
        title="Dramatiq, tuned",
        environment="dramatiq",
        app="dramatiq_app",
        module="dramatiq",
        brokers=_BROKERS,
        worker=("dramatiq", "dramatiq_app", "-p", "2", "-t", "2"),
        help=_HELP,
        version=_VERSION,
        env={"dramatiq_queue_prefetch": "500", "dramatiq_delay_queue_prefetch": "5000"},
        one_at_a_time=("-t", "1"),
        queues=_QUEUES,
    ),
)
