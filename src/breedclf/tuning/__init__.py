"""The search for the best hyperparameters: its space, strategies, rules for stopping, and its state on disk."""
