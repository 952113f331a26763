"""Features of the frozen backbone: computed once per image and cached."""
