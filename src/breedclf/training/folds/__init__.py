"""Cross-validation on features: folds of the images, and heads that are trained on the others."""
