"""Download files from a storage host to the disk: each is complete, or absent."""
