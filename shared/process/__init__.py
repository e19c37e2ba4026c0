"""What every process does at its start: settings, log, engines."""
