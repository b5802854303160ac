"""How the short-term and the global view become one vector (eq. 8): one fusion a file."""
