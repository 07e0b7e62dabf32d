"""Measure ours beside Celery, Dramatiq, taskiq and Huey, interleaved, on private servers. `./x bench` calls this.

    ./x bench                                   a few minutes: Redis, three repetitions of small numbers
    ./x bench --full --json FILE --chart FILE   hours: what is published
    ./x bench --systems ours,celery --broker redis,amqp --measures throughput,latency --n 10000 --reps 5

Prints tables of medians [lowest-highest] and of ratios, each ratio taken within one repetition. Read
benchmarks/README.md before you believe a number.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tests")]  # tests/services.py starts the servers
    from comparing.command import command

    return command(sys.argv[1:], __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
