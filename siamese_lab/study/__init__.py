"""From the files that runs leave to the answer; reads files only."""
