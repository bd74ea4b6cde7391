"""Read and fetch files: downloads, archives, image files, IDX files."""
