"""The tests, a package by name: other packages install one called so, too."""
