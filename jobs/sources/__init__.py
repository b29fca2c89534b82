"""Sources of samples: each splits its input into tasks, one per shard, and produces the records of a task."""
