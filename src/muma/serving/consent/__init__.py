"""What users agreed to, by source of data; what is not agreed to is neither taken in nor read."""
