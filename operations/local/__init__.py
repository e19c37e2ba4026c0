"""One machine: the engines as our own children, and the supervisor behind `make run`."""
