"""The recurrent branch of the network: its contract, and the cells that fill it."""
