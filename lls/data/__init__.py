"""Where images come from (sources), how they are kept (cache, store), and how they reach the network (feed)."""
