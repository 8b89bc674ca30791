"""The process itself: its ticks, its name, its log and its service manager."""
