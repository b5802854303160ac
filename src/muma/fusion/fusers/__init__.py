"""One file a fuser: source vectors into one (equations 3 to 5), with the weight of each source."""
