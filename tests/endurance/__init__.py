"""The whole daemon as a real process between an invented PagerDuty and receivers, while everything fails."""
