"""OpenTelemetry traces across producer and worker."""
