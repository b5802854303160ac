"""What the user wants now (paper 3.3): the decayed LSTM, the Transformer and their fusion."""
