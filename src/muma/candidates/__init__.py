"""What could be shown: classic collaborative filtering behind one contract."""
