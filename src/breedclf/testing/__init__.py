"""What tests of breedclf, and of code that uses it, may rely on."""
