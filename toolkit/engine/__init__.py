"""Training and testing: mmengine's Runner, hooks and schedules around loops of our own."""
