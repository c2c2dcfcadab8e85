"""What goes wrong with states. Apart from `state`, as mypyc compiles no subclass of TypeError."""


class StateUnreadable(ValueError):
    """This state was written by another version or for another spec. Build the scorer anew from the log."""


class ModelNotRegistered(TypeError):
    """A model's class has no state encoding, so it can't be checkpointed. Register it in `river_state`."""
