"""The README.md of a model directory: a model card in the form of Hugging Face, written from `breedclf.json`."""
