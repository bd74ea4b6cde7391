"""The data sets, one file each, and code that only one or two of them use: IDX sets, LFW lists, Omniglot runs."""
