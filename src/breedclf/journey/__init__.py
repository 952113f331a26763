"""The journey: from a dataset to a deployed model in steps that can be repeated one by one, with one page about it."""
