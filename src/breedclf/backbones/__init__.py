"""Which backbone to fine-tune: all that there are, and a comparison of some on the images at hand."""
