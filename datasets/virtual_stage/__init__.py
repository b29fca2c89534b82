"""The virtual light stage: people whose mesh, maps, light and camera are known, and pictures of them."""
