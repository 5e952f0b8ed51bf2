"""An app with models for the tests, which are cached in every way that a model can be."""
