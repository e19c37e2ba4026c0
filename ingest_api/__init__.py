"""The HTTP side: authenticates, validates and appends submissions; answers 202 once they are durable."""
