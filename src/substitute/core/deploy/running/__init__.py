"""What runs in a slot: its instances and workers, from their start to their drained end, one-off commands, crons."""
