"""HTTP below the routes: the connection protocol, request bodies and their limits."""
