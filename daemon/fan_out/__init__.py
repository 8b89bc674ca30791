"""Fan-out, from the journal to messages and deliveries: the second transaction."""
