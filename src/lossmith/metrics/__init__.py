"""What figures say: statistics, calibration, metrics of logits and labels."""
