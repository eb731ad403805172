"""Jobs: one, all that match, many until they are finished, and the files of their results."""
