"""What kombu transports that work in batches share: `publishing`, `turns`, `window`."""
