"""The virtual light stage: synthetic people with known mesh, maps, light and camera, and pictures of them."""
