"""Read and fetch files: downloads, archives, image files, IDX files, and the cache folder.

The facts about a data set, such as URLs and checksums, live in its file under `data.sets`.
"""
