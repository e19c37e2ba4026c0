"""Credentials: their form, and Redis' copy of them."""
