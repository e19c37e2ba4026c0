"""Redis: names, connections, durability, wake-ups, scripts."""
