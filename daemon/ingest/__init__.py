"""From PagerDuty's log to the journal: the first transaction."""
