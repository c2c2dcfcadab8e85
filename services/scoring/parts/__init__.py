"""The named parts that a model spec may be made of: features, scalers and River models.

In: a name and parameters, as an operator wrote them. Out: the built part, its parameters within their bounds. Another
part is offered by `registry.offer`, or from another package by an entry point; see docs/scoring.md.
"""
