"""What both sides agree on: settings, names, wire format, SQL, scripts, engines."""
