"""The steps of a scenario as data, one module per family of kinds."""
