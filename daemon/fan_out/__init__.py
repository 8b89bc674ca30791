"""From the journal to messages and deliveries: the second transaction."""
