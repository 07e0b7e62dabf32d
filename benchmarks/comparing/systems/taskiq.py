"""taskiq: a Redis stream (the one of its Redis brokers that acknowledges), aio-pika on RabbitMQ."""

from comparing.systems.base import System

SYSTEMS = (
    System(
        name="taskiq",
        title="taskiq",
        environment="taskiq",
        app="taskiq_app",
        module="taskiq",
        brokers=("redis", "amqp"),
        worker=("taskiq", "worker", "taskiq_app:broker", "-w", "2", "--log-level", "WARNING"),
        help=("taskiq", "worker", "--help"),
        version=("taskiq", "--version"),
        one_at_a_time=("--max-async-tasks", "1"),
        queues=("taskiq", "taskiq.dead_letter", "taskiq.delay"),
    ),
)
