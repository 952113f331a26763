"""The job side: pictures in, a trained artifact out. The only package that needs torch."""
