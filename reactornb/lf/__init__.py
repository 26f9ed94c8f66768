"""The Lingua Franca front end: programs in text, for the same model as reactors in Python."""
