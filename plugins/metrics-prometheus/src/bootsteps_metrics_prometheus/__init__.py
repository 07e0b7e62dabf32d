"""Metrics of a worker for Prometheus, named as celery-exporter names them."""
