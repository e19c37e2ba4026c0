"""Hooks, to which senders post signed webhooks: their form, the signature schemes, and the sealing of their secrets."""
