"""What pools of child processes share. Steps of pools build on `bootsteps_pool_processes.step`."""
