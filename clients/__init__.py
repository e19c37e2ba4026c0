"""The client packages, and how they are built."""
