"""A change of a config that is really made: how it is run, and what the run showed.

`scenario` makes the run of two configs, `observed` the facts of its trace, `difference` holds them
against the model.
"""
