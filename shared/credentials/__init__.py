"""Credentials: their form, and the synchronisation of Redis' copy of them."""
