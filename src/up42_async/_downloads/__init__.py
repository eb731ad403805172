"""Files from a storage host to the disk: each whole, or absent."""
