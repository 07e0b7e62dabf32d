"""Celery: the default, and what its guides recommend for speed."""

from comparing.systems.base import System

_WORKER = ("celery", "-A", "celery_app", "worker", "-c", "2", "-n", "{node}@%h")
_HELP, _VERSION = ("celery", "worker", "--help"), ("celery", "--version")
_BROKERS, _QUEUES = ("redis", "amqp"), ("celery",)

SYSTEMS = (
    System(
        name="celery",
        title="Celery 5.7",
        environment="celery",
        app="celery_app",
        module="celery",
        brokers=_BROKERS,
        worker=_WORKER,
        help=_HELP,
        version=_VERSION,
        queues=_QUEUES,
    ),
    System(
        name="celery-tuned",
        title="Celery 5.7, tuned",
        environment="celery",
        app="celery_app",
        module="celery",
        brokers=_BROKERS,
        worker=(*_WORKER, "--without-gossip", "--without-mingle", "--without-heartbeat"),
        help=_HELP,
        version=_VERSION,
        env={"BENCH_VARIANT": "tuned"},
        queues=_QUEUES,
    ),
)
