"""The API in one process without engines, for tests of connectors: `ingestctl emulate`.

The API's own code answers, over its own HTTP, with the real Lua scripts in a fake Redis (`engines.py`). What it accepts
is applied with the real fold, into memory (`memory.py`, `applier.py`). In front of it, faults are injected and each
request is noted (`gate.py`, `faults.py`); `control.py` shows and changes all of that, below `/_emulator`.
"""
