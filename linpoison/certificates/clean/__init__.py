"""What follows from the clean rows alone: a dual anchor, where parameters can be, bounds on the clean margins."""
