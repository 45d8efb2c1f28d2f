"""The only package that knows Qt: the window, its panels and the piano roll."""
