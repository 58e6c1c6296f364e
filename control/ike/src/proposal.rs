//! Sets of algorithms: their names, what is offered, what is chosen.
