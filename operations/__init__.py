"""What operators use: `ingestctl` (`cli/`) and the local installation behind `make run` (`local/`)."""
