"""The operations API: what `ingestctl` can do, as JSON over HTTP under `/api/operations/`."""
