"""What a GPU machine makes of breedclf: one prepared script for the first time that one can be had."""
