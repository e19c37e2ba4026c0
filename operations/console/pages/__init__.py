"""The pages for operators: rendered by the server, and of use without scripts.

`routes.py` names every page and everything that a form does, with the role that it needs.
"""
