"""What another policy would have earned on a logged past (paper eq. 13, rightly used)."""
