"""A trained model behind HTTP; needs the extra ``serve``."""
