"""Data: where images come from (sources), how they are stored (cache, image store), and how they reach the network."""
