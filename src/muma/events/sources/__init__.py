"""Sources, one file each; a third party's source is any importable class that does the same."""
