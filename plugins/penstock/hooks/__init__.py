"""From a connection to a client: authentication, sessions, retries. No business rules."""
