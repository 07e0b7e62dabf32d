"""A process that takes messages, says so, and keeps them: python holder.py URL OPTIONS QUEUE N."""

import json
import sys

from kombu import Connection, Consumer, Queue
from kombu.asynchronous import Hub

from bootsteps_transport_redis import Transport

url, options, queue, n = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], int(sys.argv[4])
connection = Connection(url, transport=Transport, transport_options=options)
hub = Hub()
got: list[object] = []
connection.register_with_event_loop(hub)
consumer = Consumer(connection.channel(), [Queue(queue)], on_message=got.append)
consumer.qos(prefetch_count=n)
consumer.consume()
told = False
while True:
    hub.run_once()
    if len(got) == n and not told:
        told = True
        print("has them", flush=True)
