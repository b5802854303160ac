"""One file an encoder f_i of equation (2): a kind of source into R^d."""
