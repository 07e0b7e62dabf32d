"""A pool of event loops: the step `Pool` for `-P asyncio`."""
