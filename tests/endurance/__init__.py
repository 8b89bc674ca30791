"""The whole daemon as a real process between a simulated PagerDuty and receivers, while everything fails."""
