"""What every process does at its start: read settings, set up the log, find the engines, end with its parent."""
