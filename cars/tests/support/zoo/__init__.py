"""Models of the tests' own, cached in every way that a model can be: an app for the tests only."""
