"""Answer, obey the rules, remember: the service (paper 4)."""
