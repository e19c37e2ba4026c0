"""The local installation: engines as child processes, and the supervisor behind `make run`."""
