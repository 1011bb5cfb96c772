"""More than two classes: learners, defences and the min-max attack."""
