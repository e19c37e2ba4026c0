"""Redis: names, connections, durability, wake-ups, lane status, scripts."""
