"""What a scenario can do to Envoy: the kinds of steps, one module per kind or pair of kinds.

`base.Step` has what every kind may say of itself; `registry.KINDS` lists the kinds in the order of
the documentation. A module here is pure. How a kind is carried out is its driver
(`base.StepDriver`): beside the kind where it needs nothing of the world but Envoy, else in the
module of the same name in `envoyassert.driver`.
"""
