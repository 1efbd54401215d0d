"""What a run leaves behind: its folder, record, checkpoints, predictions and TensorBoard files."""
