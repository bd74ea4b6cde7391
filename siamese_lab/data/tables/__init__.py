"""Images by index: tables in memory and tables of files."""
