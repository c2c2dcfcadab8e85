"""Views of one sensor: each turns a reading into evidence that something is new, then learns it.

A view is added by writing a class with the three methods of `view.View`, registering its state and naming it in
`build.py`.
"""
