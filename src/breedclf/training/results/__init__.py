"""What a run leaves: the output folder, the model directory, the history, and the result in memory."""
