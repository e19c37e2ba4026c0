"""Validation of request bodies: a fast way to accept, and an exact one that also explains."""
