"""Analysis and report of a study: statistics, tables, figures and the page, computed from results.json files.

Nothing here trains, evaluates or loads a data set. The files of runs are defined in `siamese_lab.runs`.
"""
