"""What the API, the workers and the operators' commands have in common: Redis, Postgres, credentials, processes."""
