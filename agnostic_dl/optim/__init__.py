"""The optimizer engine: protocol, schedules, clipping, overrides by name."""
