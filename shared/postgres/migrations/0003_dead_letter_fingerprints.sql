-- Groups dead letters by their cause, however their numbers, names and positions differ.

-- Empty for what was put aside before, or by a worker of the version before: the default lets it go on meanwhile.
ALTER TABLE dead_letters ADD COLUMN fingerprint text NOT NULL DEFAULT '';
