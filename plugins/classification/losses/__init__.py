"""Classification losses: functions of the logits and labels of one task."""
