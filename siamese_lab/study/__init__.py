"""Analysis and report of a study: statistics, tables, figures and the page, computed from results.json files.

Nothing here trains, evaluates or loads a data set. The files of runs are defined in `siamese_lab.runs`.
"""

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
"""The levels of validation Recall@1, in 0…1. By default, a report shows the time until each level."""
NOTHING = "results.json of a run. Start runs first: python -m siamese_lab.train -m experiment=study."
"""End of the message about a folder without results."""
