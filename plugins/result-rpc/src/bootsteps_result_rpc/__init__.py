"""Task results as messages to whoever asked for the task."""

from bootsteps_result_rpc.backend import RpcBackend

__all__ = ["RpcBackend"]
